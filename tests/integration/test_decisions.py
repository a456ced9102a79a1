"""What the rules say of calls, and what is done then, at a PBX of which a test tells all."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from api_client import build_call, build_recording
from uuid_utils.compat import uuid7

from lab.waiting import until
from recorder.ari.pbxs import Pbxs
from recorder.recording.capture import Capture
from recorder.recording.decisions import Decisions
from recorder.rules.book import RuleBook
from storage.catalogue import calls, decisions, recordings
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, RecordingRecord, RuleRecord
from tests.legs import leg

ALL = RuleRecord("all", 1, "all", "", "record", 9, "config")
NOT_THESE = RuleRecord(
    "not", 1, "not these", 'variables["NOREC"] == "1"', "never", 1, "config", variables=("NOREC",)
)
NOT_IN_PAYMENTS = replace(NOT_THESE, when='queue == "payments"', variables=())


@dataclass
class Pbx:
    """What is set on its channels, by id; what is gone answers as Asterisk does."""

    channels: dict[str, dict[str, str]] = field(default_factory=dict)

    def find_variable(self, channel_id: str, name: str) -> str | None:
        """None also where the channel is gone."""
        return self.channels.get(channel_id, {}).get(name)

    def find_channel(self, channel_id: str) -> str | None:
        """None where it is gone."""
        return channel_id if channel_id in self.channels else None


@dataclass
class Scene:
    """A conversation, and one who decides about it; who records gets no answer from the PBX."""

    catalogue: Catalogue
    rules: tuple[RuleRecord, ...]
    call: CallRecord
    pbx: Pbx = field(default_factory=Pbx)

    def __post_init__(self) -> None:
        self.capture = Capture(self.catalogue, Pbxs({}))
        self.take_over()

    def take_over(self, sounds: object = None) -> None:
        """From now on another process decides, which knows what is kept."""
        book = RuleBook(self.catalogue, self.rules, "never")
        parts = cast("Any", (self.catalogue, self.pbx, sounds, self.capture, book))
        self.decisions = Decisions(*parts)

    def happens(self, **to_the_call: Any) -> None:
        """The call has changed so: it is asked about, and what is said is obeyed."""
        self.call = replace(self.call, **to_the_call)
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, [self.call])
        self.decisions.ask([self.call])
        self.decisions.obey([self.call])

    def actions(self) -> list[str]:
        """What was said, each time they were asked."""
        with self.catalogue.begin() as tx:
            said = decisions.find_decision(tx, self.call.id)
        return [moment["action"] for moment in said.moments] if said is not None else []

    def recordings(self) -> tuple[RecordingRecord, ...]:
        """What there is of the call, oldest first."""
        with self.catalogue.begin() as tx:
            return recordings.list_recordings_of_calls(tx, [self.call.id])


MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(catalogue: Catalogue) -> MakeScene:
    """An agent has called a customer; these rules are asked."""

    def make(*rules: RuleRecord) -> Scene:
        legs = (leg("1", bridge_id="b"), leg("2", party="customer", bridge_id="b"))
        call = build_call(id=f"main-{uuid4()}", direction="outbound", channels=legs)
        return Scene(catalogue, rules, call)

    return make


@pytest.mark.parametrize("is_known_to_be_gone", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
def test_what_was_set_on_a_leg_that_left(
    make_scene: MakeScene, is_known_to_be_gone: bool, restarts: bool
) -> None:
    """A variable of the first leg counts on when the leg has left, whoever decides then."""
    scene = make_scene(NOT_THESE, ALL)
    scene.pbx.channels["1"] = {"NOREC": "1"}
    scene.happens()
    del scene.pbx.channels["1"]
    if restarts:
        scene.take_over()
    first = leg("1", left=is_known_to_be_gone)
    rest = [leg(id_, party="customer" if id_ == "2" else "agent", bridge_id="b") for id_ in "23"]
    scene.happens(agent="2003", channels=(first, *rest))
    assert scene.actions() == ["never", "never"]
    assert scene.recordings() == ()


def test_what_is_unset(make_scene: MakeScene) -> None:
    """A variable that the dialplan takes back, while the leg is there, counts no more."""
    scene = make_scene(NOT_THESE, ALL)
    scene.pbx.channels["1"] = {"NOREC": "1"}
    scene.happens()
    scene.pbx.channels["1"] = {}
    scene.happens(queue="support")
    assert scene.actions() == ["never", "record"]
    assert len(scene.recordings()) == 1


def test_a_never_ends_what_anybody_began(make_scene: MakeScene) -> None:
    """Where nothing may be recorded, nothing is: neither what a rule nor what a person began."""
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    scene.happens()
    for trigger in ("manual", "dtmf", "dialplan"):
        scene.capture.start(scene.call.id, by="ann", trigger=trigger)
    scene.happens(queue="payments")
    assert [one.state for one in scene.recordings()] == ["aborted"] * 4


def test_after_a_never(make_scene: MakeScene) -> None:
    """Where a rule records again a new recording begins, each time; a person's stop lasts."""
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    for queue in ("support", "payments", "support", "payments", "support"):
        scene.happens(queue=queue)
    *before, last = scene.recordings()
    assert [one.state for one in before] == ["aborted"] * 2
    assert last.state == "requested"
    scene.capture.stop(last.id, by="ann")
    for queue in ("sales", "payments", "sales"):
        scene.happens(queue=queue)
    assert scene.recordings()[-1].id == last.id


def test_what_begins_just_as_it_is_forbidden(make_scene: MakeScene) -> None:
    """Who saw that it was allowed, and promises it when all had been ended, does so in vain."""
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    scene.happens(queue="payments")
    late = build_recording(id=uuid7(), call_id=scene.call.id, state="recording")
    with scene.catalogue.begin() as tx:
        recordings.create_recording(tx, late)
    assert scene.decisions.is_open(scene.call.id)
    scene.happens()
    assert [one.state for one in scene.recordings()] == ["captured"]


def test_a_never_is_looked_after_for_a_while(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to do once nobody can be about to begin any more."""
    monkeypatch.setattr("recorder.recording.decisions.BEGUN_WITHIN", timedelta())
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    scene.happens(queue="payments")
    assert not scene.decisions.is_open(scene.call.id)


class Sounds:
    """An announcement that is over when a test says so."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def play(self, channel_ids: Collection[str], _: object) -> bool:
        """Let them hear it."""
        return self.may_end.wait(10) and bool(channel_ids)

    def do(self, work: Callable[..., None], *arguments: object) -> None:
        """Beside what else there is."""
        threading.Thread(target=work, args=arguments, daemon=True).start()


def test_an_announcement_outlives_who_began_it(make_scene: MakeScene) -> None:
    """Another owner of the PBX announces too, and ends first: one of them begins a recording."""
    scene = make_scene(replace(ALL, announcement="sound:told", announce_to="both"))
    before, after = Sounds(), Sounds()
    owners = []
    for sounds in (before, after):
        scene.take_over(sounds)
        scene.happens()
        owners.append(scene.decisions)
    for owner, sounds in zip(reversed(owners), (after, before), strict=True):
        sounds.may_end.set()
        until(lambda owner=owner: not owner._announcing)
    assert len(scene.recordings()) == 1
