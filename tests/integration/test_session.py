"""A session of the watcher: events and lists of a PBX become calls, and work for the lanes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_recording
from uuid_utils.compat import uuid7

from recorder import ari, names
from recorder.ari.errors import AriUnavailable
from recorder.calls.model import CallModel
from recorder.watch.seen_agents import AgentPattern, SeenAgents
from recorder.watch.session import Session
from storage.catalogue import calls, pbxs, recordings, segments
from storage.catalogue.agents import find_teams
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, SegmentRecord
from tests.channels import AT
from tests.channels import channel as build_channel

BRIDGE = ari.Bridge("b", "mixing", "simple_bridge", ("1", "2"))


def channel(id_: str, linkedid: str = "1", technology: str = "PJSIP") -> ari.Channel:
    return build_channel(id_, linkedid, technology)


class Pbx:
    """An Asterisk that lists these channels, or does not answer."""

    application = "earwitness"

    def __init__(self) -> None:
        self.channels: list[ari.Channel] = []
        self.bridges: list[ari.Bridge] = []
        self.startup_at = AT
        self.answers = True
        self.done: list[tuple[str, str]] = []

    def get_info(self) -> ari.AsteriskInfo:
        """Return the version and the start."""
        if not self.answers:
            raise AriUnavailable("no answer within 5 s")
        return ari.AsteriskInfo("22.0.0", "e", self.startup_at, self.startup_at)

    def list_channels(self, prefix: str = "") -> list[ari.Channel]:
        """List the channels."""
        return [one for one in self.channels if one.id.startswith(prefix)]

    def list_bridges(self) -> list[ari.Bridge]:
        """List the bridges."""
        return self.bridges

    def find_variable(self, channel_id: str, _name: str) -> str | None:
        """Return a linkedid that no list had."""
        if not self.answers:
            raise AriUnavailable("no answer within 5 s")
        return channel_id

    def hang_up(self, channel_id: str) -> None:
        """Note that a channel was hung up."""
        self.done.append(("hang up", channel_id))

    def continue_in_dialplan(self, channel_id: str) -> None:
        """Note that a channel went back to the dialplan."""
        self.done.append(("continue", channel_id))


class Steps:
    """A part of the session that notes which of its methods were called, in order."""

    def __init__(self, steps: list[str], name: str) -> None:
        self._steps = steps
        self._name = name
        self.forbids = False

    def may_forbid(self) -> bool:
        """Whether a rule may forbid a recording."""
        return self.forbids

    def __getattr__(self, method: str) -> Callable[..., None]:
        return lambda *_, **__: self._steps.append(f"{self._name}.{method}")


class NoConferences:
    """The conferences of a PBX that has none."""

    def take(self, _event: object) -> bool:
        """Leave every event to the session."""
        return False

    def tick(self) -> None:
        """Do nothing."""

    check = lose = tick


class LanesAtOnce:
    """Lanes that run their work in the thread of the test."""

    def submit(self, _key: str, work: Callable[..., object], *arguments: Any) -> bool:
        """Run the work."""
        work(*arguments)
        return True

    def submit_calls(
        self, work: Callable[[Sequence[CallRecord]], object], records: Iterable[CallRecord]
    ) -> None:
        """Run the work for these calls, if there are any."""
        if found := list(records):
            work(found)

    def number_of(self, _key: str) -> int:
        """Return the number of the only lane."""
        return 0


class Stream:
    """An event stream with these items."""

    def __init__(self, *items: object) -> None:
        self._items = list(items)

    def next(self, _timeout_s: float) -> object:
        """Return the next item; None when there is none."""
        return self._items.pop(0) if self._items else None


@dataclass
class Scene:
    """A session with a real catalogue and call model; its other parts note their calls."""

    catalogue: Catalogue
    name: str = field(default_factory=lambda: f"pbx{uuid4().hex}")
    pbx: Pbx = field(default_factory=Pbx)
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = ("decisions", "capture", "spies", "handlers", "checks")
        parts: dict[str, Any] = {name: Steps(self.steps, name) for name in names}
        self.decisions = parts["decisions"]
        fakes: dict[str, Any] = {
            "client": self.pbx,
            "lanes": LanesAtOnce(),
            "conferences": NoConferences(),
        }
        self.session = Session(
            agents=SeenAgents([AgentPattern("PJSIP/20*", "by pattern")]),
            pbx=self.name,
            catalogue=self.catalogue,
            model=CallModel(self.name, ()),
            **fakes,
            **parts,
        )
        self.session.restore()

    def process(self, *items: object) -> list[str]:
        """Process these items as one batch; return the steps that it took."""
        self.steps.clear()
        stream: Any = Stream(*items)
        self.session.process_batch(stream)
        return list(self.steps)

    def live_calls(self) -> dict[str, list[str]]:
        """Return the live calls of the catalogue by their linkedids, with their channels."""
        with self.catalogue.begin() as tx:
            found = calls.list_live_calls(tx, pbx=self.name)
        return {
            one.id.removeprefix(f"{self.name}-"): [leg.id for leg in one.channels] for one in found
        }

    def state(self) -> str:
        """Return the state of the PBX in the catalogue."""
        with self.catalogue.begin() as tx:
            return next(one.state for one in pbxs.list_pbxs(tx) if one.name == self.name)


@pytest.fixture
def scene(catalogue: Catalogue) -> Scene:
    """Return a session of a PBX of its own."""
    return Scene(catalogue)


def test_events_become_calls_and_work(scene: Scene) -> None:
    """A changed call is saved and evaluated once a batch; a call that ended is saved as ended."""
    steps = scene.process(
        ari.ChannelCreated(AT, "", channel("1")),
        ari.ChannelCreated(AT, "", channel("2")),
        ari.ChannelEnteredBridge(AT, "", BRIDGE, channel("2")),
    )
    assert scene.live_calls() == {"1": ["1", "2"]}
    assert steps == ["decisions.evaluate", "decisions.apply_decisions"]
    scene.process(
        ari.ChannelDestroyed(AT, "", channel("1"), 16, ""),
        ari.ChannelDestroyed(AT, "", channel("2"), 16, ""),
    )
    assert scene.live_calls() == {}


@pytest.mark.parametrize("forbids", [False, True])
def test_running_recordings_are_settled_first(scene: Scene, forbids: bool) -> None:
    """A running recording is settled before the rules, unless a rule may forbid it."""
    scene.process(ari.ChannelCreated(AT, "", channel("1")))
    running = build_recording(
        id=uuid7(), call_id=f"{scene.name}-1", pbx=scene.name, state="recording"
    )
    with scene.catalogue.begin() as tx:
        recordings.create_recording(tx, running)
    scene.decisions.forbids = forbids
    steps = scene.process(ari.ChannelCreated(AT, "", channel("2")))
    order = ["decisions.evaluate", "capture.settle"]
    assert steps[:2] == (order if forbids else order[::-1])
    assert steps[2] == "decisions.apply_decisions"


def test_a_connection_lists_the_pbx(scene: Scene) -> None:
    """After a connection the catalogue has the listed calls, and everything is checked."""
    scene.pbx.channels, scene.pbx.bridges = [channel("1"), channel("2")], [BRIDGE]
    steps = scene.process(ari.Connected(AT))
    assert scene.live_calls() == {"1": ["1", "2"]}
    assert scene.state() == "connected"
    assert "spies.lose" not in steps
    assert steps[0] == "capture.check_running"
    assert {"checks.check_recordings", "spies.check", "decisions.evaluate"} <= set(steps)


def test_a_restart_of_the_pbx_ends_its_calls(scene: Scene) -> None:
    """When Asterisk started after the last event, its calls ended at the loss, its spies too."""
    scene.pbx.channels = [channel("1")]
    scene.process(ari.Connected(AT))
    lost_at = AT + timedelta(minutes=1)
    scene.process(ari.Disconnected(lost_at, "closed", False))
    assert scene.state() == "unreachable"
    scene.pbx.channels, scene.pbx.startup_at = [], lost_at + timedelta(seconds=5)
    assert scene.process(ari.Connected(AT))[:2] == ["spies.lose", "capture.check_running"]
    with scene.catalogue.begin() as tx:
        assert calls.get_call(tx, f"{scene.name}-1").ended_at == lost_at


def test_a_lost_connection_ends_no_call(scene: Scene) -> None:
    """When Asterisk went on without us, its calls and spies go on."""
    scene.pbx.channels = [channel("1")]
    scene.process(ari.Connected(AT))
    scene.process(ari.Disconnected(AT + timedelta(minutes=1), "closed", False))
    assert "spies.lose" not in scene.process(ari.Connected(AT))
    assert scene.live_calls() == {"1": ["1"]}


def test_a_pbx_that_does_not_answer_is_listed_later(scene: Scene) -> None:
    """A PBX that answers no request keeps its calls, and is not connected until it is listed."""
    scene.pbx.channels = [channel("1")]
    scene.process(ari.Connected(AT))
    scene.process(ari.Disconnected(AT, "closed", False))
    scene.pbx.channels, scene.pbx.answers = [], False
    assert scene.process(ari.Connected(AT)) == []
    assert scene.live_calls() == {"1": ["1"]}
    assert scene.state() == "unreachable"


def test_snoops_of_ended_segments_are_hung_up(scene: Scene) -> None:
    """A snoop whose recording ended while nobody watched is hung up; all other channels stay, and
    so do the snoops of another instance, which our catalogue does not know."""
    recording = build_recording(id=uuid7(), call_id=f"{scene.name}-1", pbx=scene.name)
    segment = SegmentRecord(
        id=uuid7(),
        recording_id=recording.id,
        channel_id="1",
        side="left",
        state="recording",
        name="s",
        started_at=AT,
    )
    over = replace(segment, id=uuid7(), state="finished")
    scene.process(ari.ChannelCreated(AT, "", channel("1")))
    with scene.catalogue.begin() as tx:
        recordings.create_recording(tx, recording)
        assert segments.claim_segment(tx, segment)
        assert segments.claim_segment(tx, over)
    orphan, running = names.build_snoop_id(over.id), names.build_snoop_id(segment.id)
    phone, foreign = names.build_phone_id(uuid7()), names.build_snoop_id(uuid7())
    snoops = [channel(id_, technology="Snoop") for id_ in (orphan, running, foreign)]
    scene.pbx.channels = [channel("1"), *snoops, channel(phone)]
    scene.process(ari.Connected(AT))
    assert scene.pbx.done == [("hang up", orphan)]


def test_a_session_continues_with_the_saved_calls(scene: Scene) -> None:
    """The next owner of the PBX restores the live calls, and sees their end."""
    scene.process(ari.ChannelCreated(AT, "", channel("1")))
    after = Scene(scene.catalogue, scene.name, scene.pbx)
    after.process(ari.ChannelDestroyed(AT, "", channel("1"), 16, ""))
    assert after.live_calls() == {}


def test_a_caller_is_sent_back_to_the_dialplan(scene: Scene) -> None:
    """A call that a dialplan sends to our application continues in the dialplan."""
    scene.process(ari.StasisStart(AT, "", channel("1"), ()))
    scene.process(ari.StasisStart(AT, "", channel("2", technology="Snoop"), ()))
    assert scene.pbx.done == [("continue", "1")]


def test_handlers_get_the_call_that_has_just_started(scene: Scene) -> None:
    """A key is handled after the call's other changes are saved, even within one batch."""
    steps = scene.process(
        ari.ChannelCreated(AT, "", channel("1")),
        ari.DtmfReceived(AT, "", channel("1"), "1", 100),
    )
    assert steps == ["decisions.evaluate", "decisions.apply_decisions", "handlers.on_key"]


def test_agents_are_added_at_their_first_call(scene: Scene) -> None:
    """An agent whose endpoint matches a pattern is on the list, with the pattern's team."""
    number = f"20{uuid4().int}"
    agent = replace(channel("1"), name=f"PJSIP/{number}-0000000a")
    other = replace(channel("2"), name=f"SIP/{number}9-0000000a")
    scene.process(ari.ChannelCreated(AT, "", agent), ari.ChannelCreated(AT, "", other))
    with scene.catalogue.begin() as tx:
        teams = find_teams(tx, [number, f"{number}9"])
    assert teams == {number: "by pattern"}
