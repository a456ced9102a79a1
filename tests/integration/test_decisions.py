"""What the rules say of calls, and what is done then, at a PBX of which a test tells all."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import uuid4

import pytest
from api_client import build_call

from recorder.capture import Capture
from recorder.decisions import Decisions, RuleBook
from storage.catalogue import calls, decisions, recordings
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, RecordingRecord, RuleRecord
from tests.legs import leg

ALL = RuleRecord("all", 1, "all", "", "record", 9, "config")
NOT_THESE = RuleRecord(
    "not", 1, "not these", 'variables["NOREC"] == "1"', "never", 1, "config", variables=("NOREC",)
)


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
        self.capture = Capture(self.catalogue, {})
        self.take_over()

    def take_over(self) -> None:
        """From now on another process decides, which knows what is kept."""
        book = RuleBook(self.catalogue, self.rules, "never")
        parts = cast("Any", (self.catalogue, self.pbx, None, self.capture, book))
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
