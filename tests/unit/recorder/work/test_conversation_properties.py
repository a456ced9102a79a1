"""Recordings that follow their people leave no gap, and assurance finds every call whole.

A world of calls is played second by second: the plan of the captures reacts at once, so nothing may
be missing in the end. The finished recordings are then judged by their timelines and by assurance.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.recording.assurance import Meeting, assure
from recorder.recording.coverage import Scene, cover, find_starter
from recorder.recording.presence import Past, last_left_at
from recorder.work.timeline import Timeline, build_timeline
from storage.records import Action, CallRecord, DecisionRecord, RecordingRecord, SegmentRecord
from tests.legs import ZERO, leg

SECONDS = 8


def at(second: float) -> datetime:
    return ZERO + timedelta(seconds=second)


@dataclass
class World:
    """Calls of one leg each: for each second the room of a leg, and the action for its call.

    A leg without a room is alone; None means that it has not come yet, or has gone.
    """

    rooms: list[list[str | None]]
    actions: list[list[Action]]
    customers: set[int]
    made: dict[UUID, RecordingRecord] = field(default_factory=dict)
    parts: list[SegmentRecord] = field(default_factory=list)

    def calls(self, second: int) -> dict[str, CallRecord]:
        """Return the calls as they are just after the beginning of a second."""
        found = {}
        for number, rooms in enumerate(self.rooms):
            there = [one for one, room in enumerate(rooms[: second + 1]) if room is not None]
            if not there:
                continue
            left = there[-1] < second or second == SECONDS
            stays: list[list[str | None]] = []
            for one in there:
                if not rooms[one]:
                    continue
                begin, end = at(one).isoformat(), at(one + 1).isoformat()
                if stays and stays[-1][0] == rooms[one] and stays[-1][2] == begin:
                    stays[-1][2] = end
                else:
                    stays.append([rooms[one], begin, end])
            bridge_id = rooms[second] or None if not left else None
            if bridge_id is not None:
                stays[-1][2] = None
            ended_at = at(there[-1] + 1) if left else None
            channel = leg(
                f"leg{number}",
                party="customer" if number in self.customers else "agent",
                created_at=at(there[0]).isoformat(),
                joined_at=stays[0][1] if stays else None,
                left_at=ended_at.isoformat() if ended_at is not None else None,
                bridge_id=bridge_id,
                stays=stays,
            )
            found[f"main-{number}"] = CallRecord(
                f"main-{number}",
                "main",
                "ended" if left else "up",
                "internal",
                at(there[0]),
                ended_at=ended_at,
                channels=(channel,),
            )
        return found

    def decisions(self, second: int) -> dict[str, DecisionRecord]:
        """Return the decisions so far."""
        found = {}
        for number, actions in enumerate(self.actions):
            moments = tuple(
                {
                    "at": at(one).isoformat(),
                    "action": action,
                    "rule": {"id": "r", "version": 1, "name": "r", "priority": 100},
                }
                for one, action in enumerate(actions[: second + 1])
                if one == 0 or actions[one - 1] != action
            )
            last = moments[-1]
            call_id = f"main-{number}"
            action = actions[min(second, SECONDS - 1)]
            found[call_id] = DecisionRecord(call_id, action, last["rule"], "", moments)  # type: ignore[arg-type]
        return found

    def play(self) -> None:
        """Start, follow and end the recordings, at once when anything changes."""
        for second in range(SECONDS + 1):
            for _ in range(20):
                if not self._step(second):
                    break
            else:
                raise AssertionError("the recordings never settle")

    def _scene(self, second: int) -> Scene:
        running = [one for one in self.parts if one.ended_at is None]
        captured = {
            id_: frozenset(one.channel_id for one in running if one.recording_id == id_)
            for id_ in self.made
        }
        live = tuple(one for one in self.made.values() if one.ended_at is None)
        return Scene(self.calls(second), self.decisions(second), live, captured=captured)

    def _step(self, second: int) -> bool:
        """Take one step; return False if there is none left."""
        scene = self._scene(second)
        for one in scene.recordings:
            coverage = cover(scene, one)
            mine = [part for part in self.parts if part.recording_id == one.id]
            running = {part.channel_id for part in mine if part.ended_at is None}
            wanted = {} if coverage.is_ending else coverage.legs
            gone, new = running - wanted.keys(), wanted.keys() - running
            for part in [part for part in mine if part.channel_id in gone and not part.ended_at]:
                self.parts[self.parts.index(part)] = replace(
                    part,
                    state="finished",
                    ended_at=at(second),
                    end_cause="stopped",
                    duration_s=(at(second) - part.started_at).total_seconds(),
                )
            for channel_id in sorted(new):
                self.parts.append(
                    SegmentRecord(
                        UUID(int=1000 + len(self.parts)),
                        one.id,
                        channel_id,
                        wanted[channel_id],
                        "recording",
                        "",
                        at(second),
                    )
                )
            if coverage.is_ending:
                ended_at = at(second)
                home = scene.calls[one.call_id]
                if coverage.is_over:
                    ended_at = last_left_at(home, mine, now=ended_at)
                by = "rule" if coverage.is_forbidden else "call" if coverage.is_over else "merge"
                self.made[one.id] = replace(one, ended_at=ended_at, ended_by=by)  # type: ignore[arg-type]
            if gone or new or coverage.is_ending:
                return True
        for conversation in scene.conversations:
            starter = find_starter(scene, conversation)
            if starter is not None and conversation.is_talk:
                id_ = UUID(int=len(self.made) + 1)
                self.made[id_] = RecordingRecord(
                    id_,
                    starter.id,
                    "main",
                    "recording",
                    "rule",
                    "dual",
                    "opus",
                    "silence",
                    "internal",
                    started_at=at(second),
                    promised_at=at(second),
                )
                return True
        return False

    def timelines(self) -> dict[UUID, Timeline]:
        """Return the timeline of each recording."""
        return {
            one.id: build_timeline(self._past(one), self._files(one)) for one in self.made.values()
        }

    def _past(self, one: RecordingRecord) -> Past:
        calls, decided = self.calls(SECONDS), self.decisions(SECONDS)
        return Past(one, calls, list(decided.values()), list(self.made.values()))

    def _files(self, one: RecordingRecord) -> list[SegmentRecord]:
        return [part for part in self.parts if part.recording_id == one.id and part.duration_s]


@st.composite
def worlds(draw: st.DrawFn, actions: tuple[Action, ...]) -> World:
    """Draw a world of two to four calls whose legs come once and go once."""
    count = draw(st.integers(2, 4))
    rooms: list[list[str | None]] = []
    for _ in range(count):
        first = draw(st.integers(0, SECONDS - 1))
        last = draw(st.integers(first, SECONDS - 1))
        inside = st.sampled_from(["", "x", "x", "y"])
        rooms.append([draw(inside) if first <= one <= last else None for one in range(SECONDS)])
    each = st.lists(st.sampled_from(actions), min_size=SECONDS, max_size=SECONDS)
    steady = st.sampled_from(actions).map(lambda one: [one] * SECONDS)
    return World(
        rooms,
        [draw(st.one_of(steady, each)) for _ in range(count)],
        draw(st.sets(st.integers(0, count - 1))),
    )


@settings(max_examples=150, deadline=None)
@given(worlds(actions=("record", "never")))
def test_what_was_followed_at_once_has_no_gap(world: World) -> None:
    """No recording that followed its people at once claims a gap, and nothing of it is cut."""
    world.play()
    assert all(one.ended_at is not None for one in world.made.values())
    for id_, line in world.timelines().items():
        assert line.gaps == (), world.made[id_]
        assert all(span.from_s >= span.to_s for span in line.blank)
        assert line.started_at == world.made[id_].started_at


@settings(max_examples=150, deadline=None)
@given(worlds(actions=("record", "never", "on_demand")))
def test_what_was_followed_at_once_is_whole(world: World) -> None:
    """Assurance finds every call whole, and expects as much as the recordings hold."""
    world.play()
    calls, decided = world.calls(SECONDS), world.decisions(SECONDS)
    stored = [replace(one, state="stored") for one in world.made.values()]
    for call in calls.values():
        found = assure(Meeting(call, calls, list(decided.values()), stored, world.parts))
        assert (found.cause, found.covered_s) == (None, found.expected_s), call
