"""Scenes of people who hear each other, and assertions on all recordings that come of them.

A scene has named parts. After its end `Outcome` holds every recording that was made meanwhile, with
its sound on one clock: so a test can assert that a voice is recorded once, or not at all, whichever
recordings keep it.
"""

import itertools
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from lab.ears import level_dbfs, read_audio, tone_spans
from lab.far import AGENT_HZ, CUSTOMER_HZ, OTHER_CUSTOMER_HZ
from lab.pbx import ROOM
from lab.waiting import until
from lab.world import Call, World
from tests.pbx.talks import FOLLOWS_WITHIN_S, PRESENT_DBFS, numbers, on_our_clock
from tests.pbx.watching import EFFECT_S, MARGIN_S, Watched
from tests.service import Service

C, C2 = CUSTOMER_HZ, OTHER_CUSTOMER_HZ["1303"]
A1, A2, A3 = AGENT_HZ["2001"], AGENT_HZ["2002"], AGENT_HZ["2003"]
LEFT, RIGHT = "left", "right"
# A shorter sound is the click of another tone, a shorter break a late packet.
CLICK_S = 0.1
# A voice on the wrong side lasts longer than this; on a busy machine the clicks of two phones whose
# packets are late take 0.11 s.
WRONG_S = 0.25
# In a shorter window two phones that speak 1100 Hz at once, as loud as 0.44, count as 980 Hz too.
WINDOW_S = 0.04
# The time in which two recordings may both hear a voice while one takes over from the other: 0.65 s
# were seen at load 13.
TWICE_WITHIN_S = 0.8
AT_MOST = 100  # recordings of one scene
FINISHED = ("stored", "aborted", "discarded", "failed")
other_numbers = map(str, itertools.count(13035550200))

Span = tuple[float, float]


class Kept:
    """A stored recording, and the times of each tone in it on the monotonic clock."""

    def __init__(self, service: Service, recording: dict[str, Any]) -> None:
        self.recording = recording
        self._rate, sides = read_audio(service.fetch_audio(recording))
        names = (LEFT, RIGHT) if len(sides) == 2 else ("mono",)
        if recording["layout"] == "tracks":
            names = tuple(map(str, range(len(sides))))
        self._sides = dict(zip(names, sides, strict=True))
        self._began = on_our_clock(datetime.fromisoformat(recording["started_at"]).timestamp())

    def spans(self, hz: float, side: str | None = None) -> list[Span]:
        """Return the spans in which a tone sounds on a side, or on any side."""
        sides = [sound for name, sound in self._sides.items() if side in (None, name)]
        return [
            (self._began + from_s, self._began + to_s)
            for sound in sides
            for from_s, to_s in _joined(tone_spans(sound, self._rate, hz, window_s=WINDOW_S))
        ]

    def within(self, hz: float, from_at: float, to_at: float) -> list[Span]:
        """Return the spans of a tone between two times, on any side."""
        return _clip(self.spans(hz), from_at, to_at)


class Outcome:
    """All recordings of a scene that has ended; a part is named as in the scene."""

    def __init__(self, parts: dict[str, Span], kept: list[Kept]) -> None:
        self._parts = parts
        self.kept = kept

    @property
    def by_rule(self) -> list[Kept]:
        """Return the recordings that rules started."""
        return [one for one in self.kept if one.recording["trigger"] == "rule"]

    def assert_once(
        self, hz: float, first: str, last: str = "", *, side: str | None = None
    ) -> None:
        """Assert that rules' recordings have this tone once, without a hole, in these parts.

        With `side`, the tone is on this side and not on the other one. Without `last` it is one
        part alone.
        """
        from_at, to_at = self._parts[first][0], self._parts[last or first][1]
        spans = self._spans(self.by_rule, hz, from_at, to_at)
        holes, twice_s = _measure(spans, from_at, to_at)
        told = [(round(a - from_at, 2), round(b - from_at, 2)) for a, b in holes]
        longest_s = max((b - a for a, b in holes), default=0.0)
        assert longest_s < FOLLOWS_WITHIN_S, f"{hz} Hz has holes in {first}..{last}: {told}"
        assert twice_s < TWICE_WITHIN_S, f"{hz} Hz is kept twice for {twice_s:.2f} s in {first}"
        if side is not None:
            other = {LEFT: RIGHT, RIGHT: LEFT}[side]
            found = self._spans(self.by_rule, hz, from_at, to_at, other)
            wrong = [(a, b) for a, b in found if b - a > WRONG_S]
            assert not wrong, f"{hz} Hz is on the {other}: {wrong}"

    def assert_not(self, part: str, *tones_hz: float, last: str = "") -> None:
        """Assert that no recording at all, of a rule or a person, has these tones in this part."""
        from_at, to_at = self._parts[part][0], self._parts[last or part][1]
        for hz in tones_hz:
            for one in self.kept:
                spans = _clip(one.spans(hz), from_at, to_at)
                told = [(round(a - from_at, 2), round(b - from_at, 2)) for a, b in spans]
                assert not spans, f"{hz} Hz in {part} is in {one.recording['id']}: {told}"

    def holes(self, hz: float, first: str, last: str = "") -> list[Span]:
        """Return the spans in which no recording has this tone, on the monotonic clock."""
        from_at, to_at = self._parts[first][0], self._parts[last or first][1]
        return _measure(self._spans(self.kept, hz, from_at, to_at), from_at, to_at)[0]

    @staticmethod
    def _spans(
        kept: Iterable[Kept], hz: float, from_at: float, to_at: float, side: str | None = None
    ) -> list[Span]:
        return _clip([span for one in kept for span in one.spans(hz, side)], from_at, to_at)


class Scene:
    """People who meet, and the named parts of their time."""

    def __init__(self, service: Service, world: World) -> None:
        self.service = service
        self.world = world
        self.parts: dict[str, Span] = {}
        self._began_ms = time.time_ns() // 1_000_000

    def part(self, name: str, seconds: float = 1.0) -> None:
        """Let everybody talk, and give this part a name."""
        time.sleep(EFFECT_S)
        began = time.monotonic()
        time.sleep(seconds)
        self.parts[name] = (began, time.monotonic())
        time.sleep(MARGIN_S)

    def calls(self) -> list[dict[str, Any]]:
        """Return the live calls."""
        return list(self.service.get("/calls")["items"])

    def call_of(self, number: str) -> dict[str, Any]:
        """Wait for the live call in which a leg with this number is, and return it."""

        def find() -> dict[str, Any] | None:
            return next(
                (
                    call
                    for call in self.calls()
                    if any(one["number"] == number for one in call["channels"])
                    or call["caller"]["number"] == number
                ),
                None,
            )

        return until(find)

    def recordings(self) -> list[dict[str, Any]]:
        """Return the recordings that were made since the scene began."""
        newest = self.service.get("/recordings", limit=AT_MOST)["items"]
        return [one for one in newest if _made_ms(one["id"]) >= self._began_ms]

    def live_recordings(self) -> list[dict[str, Any]]:
        """Return those of them that are not over."""
        return [one for one in self.recordings() if one["state"] in ("recording", "paused")]

    def await_live(self, count: int = 1, state: str = "recording") -> list[dict[str, Any]]:
        """Wait until this many recordings are live and in this state, and return them."""

        def find() -> list[dict[str, Any]]:
            live = self.live_recordings()
            assert [one["state"] for one in live] == [state] * count, self._describe()
            return live

        return until(find)

    def _describe(self) -> str:
        """Return the recordings and the live calls, a line for each."""
        keys = ("id", "call_id", "state", "trigger", "continues", "continued_in")
        made = [" ".join(str(one[key]) for key in keys) for one in self.recordings()]
        live = [
            f"{one['id']} {one['state']} {one['caller']['number']} {one['joined']}"
            f" {[(leg['number'], leg['state']) for leg in one['channels']]}"
            for one in self.calls()
        ]
        return "\n".join(["", *made, *live])

    def found_by(self, number: str) -> set[str]:
        """Return the ids of the scene's recordings that a search for a number finds."""
        found = self.service.get("/recordings", number=number, limit=AT_MOST)["items"]
        return {one["id"] for one in found} & {one["id"] for one in self.recordings()}

    def act(self, recording_id: str, action: str) -> None:
        """Pause, resume or stop a recording."""
        answer = self.service.post(f"/recordings/{recording_id}/{action}")
        assert answer.status_code == 200, answer.text

    def end(self) -> Outcome:
        """Hang up everybody; return the recordings once all are finished."""
        self.world.hang_up_all()

        def finished() -> list[dict[str, Any]]:
            assert self.calls() == []
            made = self.recordings()
            assert all(one["state"] in FINISHED for one in made), [one["state"] for one in made]
            return made or [{"state": "none"}]

        made = [one for one in until(finished, 60) if one["state"] == "stored"]
        return Outcome(self.parts, [Kept(self.service, one) for one in made])


def assert_conference(scene: Scene, *people: str) -> None:
    """Let people meet in a room: one recording has all of them, and each one's number finds it."""
    conference = scene.world.conference(*people)
    scene.part("together", 2.0)
    ids = {number: scene.call_of(number)["id"] for number in people}
    for number, call_id in ids.items():
        others = {other for whom, other in ids.items() if whom != number}
        assert set(scene.service.get(f"/calls/{call_id}")["joined"]) == others
    legs = dict(conference.members)
    outcome = scene.end()
    for leg in legs.values():
        side = LEFT if leg.hz in (C, C2) else RIGHT if C in [x.hz for x in legs.values()] else None
        outcome.assert_once(leg.hz, "together", side=side)
    (kept,) = outcome.kept
    for number in people:
        assert scene.found_by(number) == {kept.recording["id"]}
    assert {one["number"] for one in kept.recording["parties"]} == set(people)
    assert_nothing_missing(scene, ids.values())


def assert_redirected_into_a_room(scene: Scene, *, with_customer: bool) -> None:
    """Let a recorded agent be sent into a room: the people there are recorded with him."""
    room = scene.world.conference("2002")
    call = scene.world.inbound(caller=(number := next(numbers)))
    scene.await_live()
    scene.part("before")
    customer = call.leg("customer")
    if with_customer:
        scene.world.redirect(ROOM, customer, call.leg("agent"))
    else:
        scene.world.redirect(ROOM, call.leg("agent"))
    scene.part("in the room", 2.0)
    ids = [scene.call_of(one)["id"] for one in ("2002", "2001")]
    outcome = scene.end()
    assert room.members["2002"].hz == A2
    outcome.assert_once(C, "before", "in the room" if with_customer else "", side=LEFT)
    outcome.assert_once(A1, "before", "in the room")
    outcome.assert_once(A2, "in the room")
    outcome.assert_not("before", A2)
    in_room = {one.recording["id"] for one in outcome.kept if one.spans(A2)}
    assert scene.found_by("2002") == in_room
    assert in_room <= scene.found_by("2001")
    if with_customer:
        assert in_room <= scene.found_by(number)
    assert_nothing_missing(scene, ids)


def assert_merge_while_paused(scene: Scene) -> None:
    """Let two calls be joined during a pause: nobody is recorded until somebody resumes."""
    held, taken = internal_and_customer(scene, next(numbers))
    (ours,) = [one for one in scene.await_live(2) if one["did"]]
    scene.part("before")
    scene.act(ours["id"], "pause")
    scene.world.merge(held, taken)
    scene.part("paused", 2.0)
    scene.await_live(1, "paused")
    scene.act(scene.live_recordings()[0]["id"], "resume")
    scene.part("resumed", 1.5)
    outcome = scene.end()
    outcome.assert_once(C, "before", side=LEFT)
    outcome.assert_once(A1, "before", side=RIGHT)
    outcome.assert_not("paused", C, A1, A2)
    outcome.assert_once(C, "resumed", side=LEFT)
    outcome.assert_once(A2, "resumed", side=RIGHT)


def assert_pause_keys_pause_all(scene: Scene) -> None:
    """Let the agent press the pause key: the rule's recording and the manual one are paused."""
    number = next(numbers)
    call = scene.world.inbound(caller=number)
    scene.await_live()
    call_id = scene.service.live_call(number)["id"]
    assert scene.service.post(f"/calls/{call_id}/recordings").status_code == 201
    scene.await_live(2)
    scene.part("before")
    call.send_dtmf("*2")
    scene.await_live(2, "paused")
    scene.part("paused", 1.5)
    call.send_dtmf("*2")
    scene.await_live(2)
    scene.part("after", 1.5)
    outcome = scene.end()
    outcome.assert_not("paused", C, A1)
    for part in ("before", "after"):
        for one in outcome.kept:
            alone = Outcome(scene.parts, [one])
            assert one.recording["trigger"] in ("rule", "manual")
            assert not [a for a, b in alone.holes(C, part) if b - a > FOLLOWS_WITHIN_S]
    assert len(outcome.kept) == 2


def assert_originated(scene: Scene, channel: str) -> None:
    """Let the PBX call an agent, then the customer: callee, search and sides are right."""
    number = next(numbers)
    scene.world.originate(channel, number)
    scene.part("talk", 1.5)
    outcome = scene.end()
    outcome.assert_once(C, "talk", side=LEFT)
    outcome.assert_once(A1, "talk", side=RIGHT)
    (kept,) = outcome.kept
    assert kept.recording["callee"]["number"] == number, kept.recording
    assert kept.recording["agent"] == "2001"
    assert scene.found_by(number) == {kept.recording["id"]}
    assert scene.found_by("2001") == {kept.recording["id"]}


def assert_spied_merge(scene: Scene, side: str, headers: Any, hears: tuple[float, ...]) -> None:
    """Let a supervisor listen to one of two calls that are joined; the rest is recorded whole.

    From the merge on the supervisor hears the tones `hears`.
    """
    held, taken = internal_and_customer(scene, next(numbers), held_headers=headers, headers=headers)
    spied, number = (held, "2002") if side == "held" else (taken, taken.leg("customer").party)
    watched = Watched(scene.service, scene.world, spied, scene.call_of(number)["id"])
    spy = watched.spy("listen")
    scene.part("before")
    scene.world.merge(held, taken)
    watched.part("merged", 1.5)
    scene.part("still", 0.5)
    assert spy.get()["state"] == "live"
    outcome = scene.end()
    rate, samples = watched.heard(spy.leg, "merged")
    for hz in hears:
        assert level_dbfs(samples, rate, hz) > PRESENT_DBFS, f"{hz} Hz is missing"
    outcome.assert_once(C, "before", "still", side=LEFT)
    outcome.assert_once(A2, "still", side=RIGHT)


def internal_and_customer(
    scene: Scene, number: str, *, held_headers: Any = None, headers: Any = None
) -> tuple[Call, Call]:
    """Let 2001 hold a call with 2002 and take a customer; return both calls."""
    held = scene.world.internal("2001", "2002", headers=held_headers)
    scene.part("internal", 0.6)
    held.hold()
    taken = scene.world.inbound(caller=number, headers=headers)
    scene.call_of(number)
    return held, taken


def assert_nothing_missing(scene: Scene, call_ids: Iterable[str]) -> None:
    """Assert that the service has found no recording of these calls to be missing."""
    missing = {one["call_id"]: one for one in scene.service.get("/assurance")["items"]}
    assert [missing[one] for one in call_ids if one in missing] == []


def _made_ms(id_: str) -> int:
    """Return the time in a UUIDv7, in ms since the epoch."""
    return UUID(id_).int >> 80


def _clip(spans: Iterable[Span], from_at: float, to_at: float) -> list[Span]:
    """Return the parts of spans within a window."""
    clipped = ((max(a, from_at), min(b, to_at)) for a, b in spans)
    return sorted((a, b) for a, b in clipped if b - a > CLICK_S)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the spans joined over short breaks, without clicks."""
    joined: list[Span] = []
    for from_s, to_s in spans:
        if joined and from_s - joined[-1][1] < CLICK_S:
            joined[-1] = (joined[-1][0], to_s)
        else:
            joined.append((from_s, to_s))
    return [(a, b) for a, b in joined if b - a > CLICK_S]


def _measure(spans: list[Span], from_at: float, to_at: float) -> tuple[list[Span], float]:
    """Return the holes between sorted spans in a window, and the time that spans overlap."""
    holes, twice_s, end = [], 0.0, from_at
    for a, b in spans:
        if a > end:
            holes.append((end, a))
        twice_s += max(0.0, min(end, b) - a)
        end = max(end, b)
    if to_at > end:
        holes.append((end, to_at))
    return holes, twice_s
