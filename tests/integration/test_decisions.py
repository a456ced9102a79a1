"""The rules of one PBX: they decide about its calls, and recordings start and stop by them."""

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_client import build_call, build_recording
from uuid_utils.compat import uuid7

from lab.waiting import until
from recorder.ari.pbxs import Pbxs
from recorder.errors import PbxUnavailable
from recorder.recording.announce import Announcer
from recorder.recording.capture import Capture
from recorder.recording.decisions import Decisions
from recorder.recording.fact_reader import FactReader
from recorder.rules.book import RuleBook
from storage.catalogue import calls, decisions, recordings, terms
from storage.catalogue.engine import Catalogue
from storage.records import Action, CallRecord, RecordingRecord, RuleRecord, RuleTerms, Trigger
from tests.actors import ANN
from tests.legs import leg

ALL = RuleRecord(
    id="all", version=1, name="all", when="", action="record", priority=9, origin="config"
)
NOT_THESE = RuleRecord(
    id="not",
    version=1,
    name="not these",
    when='variables["NOREC"] == "1"',
    action="never",
    priority=1,
    origin="config",
    variables=("NOREC",),
)
NOT_IN_PAYMENTS = NOT_THESE.replace(when='queue == "payments"', variables=())


@dataclass
class Pbx:
    """An Asterisk with these channels and their variables."""

    channels: dict[str, dict[str, str]] = field(default_factory=dict)

    def find_variable(self, channel_id: str, name: str) -> str | None:
        """Return a variable; None where the channel is gone, as Asterisk does."""
        return self.channels.get(channel_id, {}).get(name)

    def find_channel(self, channel_id: str) -> str | None:
        """Return the id of a channel; None where it is gone."""
        return channel_id if channel_id in self.channels else None


class Sounds:
    """An announcement that ends when the test says so."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def play(self, channel_ids: Collection[str], _: object) -> bool:
        """Play until the test ends it."""
        return self.may_end.wait(10) and bool(channel_ids)

    def submit(self, work: Callable[..., None], *arguments: object) -> None:
        """Run the work in a thread of its own."""
        threading.Thread(target=work, args=arguments, daemon=True).start()


def at_once(_call_id: str, work: Callable[..., object], *arguments: Any) -> bool:
    """Run the work of a lane in this thread."""
    work(*arguments)
    return True


@dataclass
class Scene:
    """A conversation and its rules; the PBX of the recordings is not configured."""

    catalogue: Catalogue
    rules: tuple[RuleRecord, ...]
    call: CallRecord
    pbx: Pbx = field(default_factory=Pbx)
    book_default: Action = "never"

    def __post_init__(self) -> None:
        self.capture = Capture(self.catalogue, Pbxs({}))
        self.take_over()

    def take_over(self, sounds: Sounds | None = None) -> None:
        """Let another process own the PBX: it reads the state from the catalogue alone."""
        fakes: dict[str, Any] = {"sounds": sounds, "client": self.pbx}
        self.announcer = Announcer(self.catalogue, fakes["sounds"], at_once)
        self.decisions = Decisions(
            self.catalogue,
            FactReader(self.catalogue, fakes["client"]),
            RuleBook(self.catalogue, self.rules, self.book_default),
            self.announcer,
            self.capture,
        )

    def change(self, **fields: Any) -> None:
        """Change the call; evaluate the rules and apply the decision."""
        self.call = replace(self.call, **fields)
        with self.catalogue.begin() as tx:
            calls.save_calls(tx, [self.call])
        self.decisions.evaluate([self.call])
        self.decisions.apply_decisions([self.call])

    def actions(self) -> list[str]:
        """Return the action of each saved moment, oldest first."""
        with self.catalogue.begin() as tx:
            kept = decisions.find_decision(tx, self.call.id)
        return [moment["action"] for moment in kept.moments] if kept is not None else []

    def recordings(self) -> tuple[RecordingRecord, ...]:
        """Return the recordings of the call, oldest first."""
        with self.catalogue.begin() as tx:
            return recordings.list_recordings_of_calls(tx, [self.call.id])


MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(catalogue: Catalogue) -> MakeScene:
    """Return a function that makes a call from an agent to a customer, under these rules."""

    def make(*rules: RuleRecord) -> Scene:
        legs = (leg("1", bridge_id="b"), leg("2", party="customer", bridge_id="b"))
        call = build_call(id=f"main-{uuid4()}", direction="outbound", channels=legs)
        return Scene(catalogue, rules, call)

    return make


@pytest.mark.parametrize("is_known_to_be_gone", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
def test_the_variables_of_a_leg_outlive_it(
    make_scene: MakeScene, is_known_to_be_gone: bool, restarts: bool
) -> None:
    """A variable of the first leg still counts after the leg has left, and after a restart."""
    scene = make_scene(NOT_THESE, ALL)
    scene.pbx.channels["1"] = {"NOREC": "1"}
    scene.change()
    del scene.pbx.channels["1"]
    if restarts:
        scene.take_over()
    first = leg("1", left=is_known_to_be_gone)
    rest = [leg(id_, party="customer" if id_ == "2" else "agent", bridge_id="b") for id_ in "23"]
    scene.change(agent="2003", channels=(first, *rest))
    assert scene.actions() == ["never", "never"]
    assert scene.recordings() == ()


def test_a_variable_that_is_unset_counts_no_more(make_scene: MakeScene) -> None:
    """When the dialplan unsets a variable of a living leg, the rules see it unset."""
    scene = make_scene(NOT_THESE, ALL)
    scene.pbx.channels["1"] = {"NOREC": "1"}
    scene.change()
    scene.pbx.channels["1"] = {}
    scene.change(queue="support")
    assert scene.actions() == ["never", "record"]
    assert len(scene.recordings()) == 1


def test_a_never_stops_every_recording(make_scene: MakeScene) -> None:
    """A `never` stops the recordings of rules, of people, of keys and of dialplans."""
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    scene.change()
    triggers: tuple[Trigger, ...] = ("manual", "dtmf", "dialplan")
    for trigger in triggers:
        scene.capture.start(scene.call.id, by=ANN, trigger=trigger)
    scene.change(queue="payments")
    assert [one.state for one in scene.recordings()] == ["aborted"] * 4


def test_a_recording_after_a_never(make_scene: MakeScene) -> None:
    """After a `never` the next `record` starts a new recording; after a person's stop none."""
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    for queue in ("support", "payments", "support", "payments", "support"):
        scene.change(queue=queue)
    *before, last = scene.recordings()
    assert [one.state for one in before] == ["aborted"] * 2
    assert last.state == "requested"
    scene.capture.stop(last.id, by=ANN)
    for queue in ("sales", "payments", "sales"):
        scene.change(queue=queue)
    assert scene.recordings()[-1].id == last.id


def test_a_recording_that_starts_as_it_is_forbidden(make_scene: MakeScene) -> None:
    """A recording that another process creates just after the `never` ends before it captures."""
    scene = make_scene(NOT_IN_PAYMENTS, ALL)
    scene.change(queue="payments")
    late = build_recording(id=uuid7(), call_id=scene.call.id, state="requested")
    with scene.catalogue.begin() as tx:
        recordings.create_recording(tx, late)
    assert late.id in {one.id for one in scene.capture.list_unsettled("main")}
    with suppress(PbxUnavailable):
        scene.capture.settle(late.id)
    (ended,) = scene.recordings()
    assert (ended.state, ended.ended_by) == ("aborted", "rule")


def test_a_decision_older_than_the_call_starts_nothing(make_scene: MakeScene) -> None:
    """Until a rule has seen that two people talk, the default starts no recording of them."""
    scene = make_scene(ALL.replace(format="wav"))
    scene.book_default = "record"
    scene.take_over()
    legs = scene.call.channels
    moment = scene.call.started_at
    ringing = (legs[0], leg("2", party="customer", joined=False))
    scene.change(channels=ringing, talked_at=None, changed_at=moment)
    before = scene.call
    talk = moment + timedelta(seconds=1)
    scene.call = replace(before, channels=legs, talked_at=talk, changed_at=talk)
    with scene.catalogue.begin() as tx:
        calls.save_calls(tx, [scene.call])
    scene.decisions.reconsider([before.id])
    scene.decisions.apply_decisions([before])
    assert scene.recordings() == ()
    scene.change()
    assert [(one.rule, one.format) for one in scene.recordings()] == [("all", "wav")]


def test_the_terms_of_a_request(make_scene: MakeScene) -> None:
    """A call whose request wants it recorded is recorded on these terms, unless a rule forbids."""
    scene = make_scene(NOT_IN_PAYMENTS)
    scene.change()
    assert scene.recordings() == ()
    wanted = RuleTerms(name="dialled", action="record", layout="mono", tags=("sale",))
    with scene.catalogue.begin() as tx:
        terms.set_terms(tx, scene.call.id, "dialled", wanted)
    scene.change()
    (made,) = scene.recordings()
    assert (made.trigger, made.rule, made.layout, made.tags) == (
        *("dialled", "dialled", "mono", ("sale",)),
    )
    scene.take_over()
    scene.change()
    assert len(scene.recordings()) == 1
    scene.change(queue="payments")
    assert [one.ended_by for one in scene.recordings()] == ["rule"]
    assert scene.actions()[-3:] == ["record", "record", "never"]


def test_changed_terms_open_a_call(make_scene: MakeScene) -> None:
    """A call whose request wants other terms is considered again, although no event says so."""
    scene = make_scene()
    scene.change()
    scene.decisions.reopen_changed_terms("main")
    assert not scene.decisions.is_open(scene.call.id)
    with scene.catalogue.begin() as tx:
        wanted = RuleTerms(name="conference", action="record")
        terms.set_terms(tx, scene.call.id, "conference", wanted)
    scene.decisions.reopen_changed_terms("main")
    assert scene.decisions.is_open(scene.call.id)
    scene.change()
    (made,) = scene.recordings()
    assert (made.trigger, made.rule) == ("manual", "conference")
    with scene.catalogue.begin() as tx:
        terms.drop_terms(tx, scene.call.id)
    scene.decisions.reopen_changed_terms("main")
    assert scene.decisions.is_open(scene.call.id)


def test_a_change_while_a_decision_is_applied(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose company changes while its decision is applied is considered once more."""
    scene = make_scene(ALL)
    applied: list[str] = []

    def apply_decision(call: CallRecord) -> bool:
        applied.append(call.id)
        if len(applied) == 1:
            scene.decisions.reconsider([call.id])
        return True

    monkeypatch.setattr(scene.decisions, "apply_decision", apply_decision)
    scene.change()
    assert scene.decisions.is_open(scene.call.id)
    scene.decisions.apply_decisions([scene.call])
    assert applied == [scene.call.id] * 2
    assert not scene.decisions.is_open(scene.call.id)


def test_a_request_after_a_stop(make_scene: MakeScene) -> None:
    """After a person has stopped the recording, only a new request starts another one."""
    scene = make_scene()
    wanted = RuleTerms(name="conference", action="record")

    def request() -> None:
        with scene.catalogue.begin() as tx:
            terms.set_terms(tx, scene.call.id, "conference", wanted)

    request()
    scene.change()
    scene.capture.stop(scene.recordings()[0].id, by=ANN)
    scene.change(queue="support")
    assert len(scene.recordings()) == 1
    with scene.catalogue.begin() as tx:
        terms.drop_terms(tx, scene.call.id)
    request()
    scene.decisions.reopen_changed_terms("main")
    assert scene.decisions.is_open(scene.call.id)
    scene.change()
    assert [one.ended_by for one in scene.recordings()] == ["person", None]


def test_a_request_without_a_call(make_scene: MakeScene) -> None:
    """Terms come before the call has a row, and are gone once they are dropped."""
    scene = make_scene()
    with scene.catalogue.begin() as tx:
        terms.set_terms(tx, scene.call.id, "conference", RuleTerms(name="weekly", action="record"))
        terms.drop_terms(tx, scene.call.id)
        assert terms.find_terms(tx, [scene.call.id]) == {}
    scene.change()
    assert scene.recordings() == ()


def test_an_announcement_that_outlives_its_owner(make_scene: MakeScene) -> None:
    """When two owners of the PBX announce one after the other, one recording starts."""
    scene = make_scene(ALL.replace(announcement="sound:told", announce_to="both"))
    before, after = Sounds(), Sounds()
    owners = []
    for sounds in (before, after):
        scene.take_over(sounds)
        scene.change()
        owners.append(scene.announcer)
    for owner, sounds in zip(reversed(owners), (after, before), strict=True):
        sounds.may_end.set()
        until(lambda owner=owner: not owner.is_announcing(scene.call.id))
    assert len(scene.recordings()) == 1
