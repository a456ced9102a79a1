"""Reconciliation: the call model equals the channels and bridges that the PBX lists."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from recorder import ari, names
from recorder.ari import LINKEDID
from recorder.ari.errors import AriUnavailable
from recorder.calls.model import CallModel
from recorder.watch.reconcile import find_linkedids, reconcile_calls
from tests.channels import AT, channel

LOST_AT = datetime(2026, 11, 24, 12, 1, tzinfo=UTC)


def bridge(*channel_ids: str) -> ari.Bridge:
    """Return a bridge with these channels."""
    return ari.Bridge("b", "mixing", "simple_bridge", channel_ids)


@dataclass
class Pbx:
    """An Asterisk with these channels and bridges; it may stop to answer after the lists."""

    channels: tuple[ari.Channel, ...] = ()
    bridges: tuple[ari.Bridge, ...] = ()
    linkedids: dict[str, str] = field(default_factory=dict)
    answers: bool = True
    read: list[str] = field(default_factory=list)

    def list_channels(self) -> tuple[ari.Channel, ...]:
        """List the channels."""
        return self.channels

    def list_bridges(self) -> tuple[ari.Bridge, ...]:
        """List the bridges."""
        return self.bridges

    def find_variable(self, channel_id: str, name: str) -> str | None:
        """Return the linkedid of a channel."""
        if not self.answers:
            raise AriUnavailable("no answer within 5 s")
        assert name == LINKEDID
        self.read.append(channel_id)
        return self.linkedids.get(channel_id)


def reconcile(pbx: Pbx, model: CallModel, lost_at: datetime | None = None) -> frozenset[str]:
    """Reconcile the model with this PBX."""
    client: Any = pbx
    return reconcile_calls(client, model, lost_at)


@pytest.fixture
def model() -> CallModel:
    """Return a model without calls."""
    return CallModel("main", ())


def test_listed_channels_become_calls(model: CallModel) -> None:
    """Every listed channel is in the call of its linkedid; nothing is read that was listed."""
    pbx = Pbx((channel("1", "1"), channel("2", "1"), channel("3", "3")), (bridge("1", "2"),))
    assert reconcile(pbx, model) == {"main-1", "main-3"}
    assert [leg.id for leg in model.record("main-1").channels] == ["1", "2"]
    assert pbx.read == []


def test_linkedids_that_were_not_listed_are_read(model: CallModel) -> None:
    """Without `channelvars` the linkedid of each channel is read; a gone channel has no call."""
    pbx = Pbx((channel("1"), channel("2"), channel("9")), linkedids={"1": "1", "2": "1"})
    assert reconcile(pbx, model) == {"main-1"}
    assert pbx.read == ["1", "2", "9"]


def test_linkedids_that_differ_within_a_bridge_are_read_again(model: CallModel) -> None:
    """A bridge joins the calls of its channels; the list may be older than the bridge."""
    pbx = Pbx(
        (channel("1", "1"), channel("2", "2"), channel("3", "3")),
        (bridge("1", "2"),),
        linkedids={"1": "1", "2": "1"},
    )
    reconcile(pbx, model)
    assert pbx.read == ["1", "2"]
    assert [leg.id for leg in model.record("main-1").channels] == ["1", "2"]


def test_calls_stay_when_the_pbx_answers_in_part(model: CallModel) -> None:
    """A PBX that lists its channels and then stops to answer ends no call."""
    reconcile(Pbx((channel("1", "1"),)), model)
    with pytest.raises(AriUnavailable):
        reconcile(Pbx((channel("2"),), answers=False), model)
    assert (model.find_call_of("1"), model.find_call_of("2")) == ("main-1", None)


@pytest.mark.parametrize("lost_at", [None, LOST_AT])
def test_calls_that_are_not_listed_have_ended(model: CallModel, lost_at: datetime | None) -> None:
    """A call without channels has ended: at the PBX's own end, or else now."""
    reconcile(Pbx((channel("1", "1"),)), model)
    before = datetime.now(UTC)
    assert reconcile(Pbx(), model, lost_at) == {"main-1"}
    record = model.record("main-1")
    ended_at = record.ended_at
    assert [leg.vanished for leg in record.channels] == [lost_at is None]
    assert ended_at is not None
    assert ended_at == lost_at if lost_at is not None else before <= ended_at


def test_helper_channels_belong_to_no_call(model: CallModel) -> None:
    """Snoops and media channels are listed too, but are not part of a call."""
    assert reconcile(Pbx((channel("1", "1", technology="Snoop"),)), model) == frozenset()


@pytest.mark.parametrize(("linkedid", "read"), [("1", []), (None, ["1"])])
def test_the_linkedid_of_a_new_channel(
    model: CallModel, linkedid: str | None, read: list[str]
) -> None:
    """A new channel's linkedid comes with the event, or is read from the PBX."""
    event = ari.ChannelCreated(AT, "", channel("1", linkedid))
    pbx = Pbx(linkedids={"1": "1"})
    client: Any = pbx
    assert find_linkedids(client, model, event) == {"1": "1"}
    assert pbx.read == read


def test_a_phone_that_we_ring_gives_its_call_the_id(model: CallModel) -> None:
    """Its linkedid is not read: the phone may decline before the PBX could answer."""
    phone = names.build_person_id(uuid4())
    pbx = Pbx()
    client: Any = pbx
    event = ari.ChannelCreated(AT, "", channel(phone))
    assert find_linkedids(client, model, event) == {phone: phone}
    assert pbx.read == []
