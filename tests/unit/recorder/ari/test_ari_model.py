"""Read ARI's JSON: real messages of Asterisk 22, and spoilt messages."""

import copy
import json
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ari import model
from recorder.ari.errors import AriProtocolError
from recorder.ari.model import (
    BridgeAttendedTransfer,
    BridgeBlindTransfer,
    Channel,
    ChannelDestroyed,
    ChannelEnteredBridge,
    ChannelUserevent,
    ChannelVarset,
    Dial,
    Dialplan,
    Event,
    OtherEvent,
    Party,
    RecordingFailed,
    RecordingFinished,
    StasisStart,
    parse_channel,
    parse_event,
    parse_info,
)

CAPTURED: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "captured.jsonl").read_text().splitlines()
]


def captured(kind: str, **having: Any) -> dict[str, Any]:
    """Return a copy of the first real message of a type, and with these fields."""
    for body in CAPTURED:
        if body["type"] == kind and all(body.get(name) == value for name, value in having.items()):
            return copy.deepcopy(body)
    raise LookupError(kind)


def test_every_event_class_was_seen_on_a_real_asterisk() -> None:
    """Each class of event has a captured message that becomes it."""
    classes = {one for one in vars(model).values() if isinstance(one, type)}
    events = {one for one in classes if issubclass(one, Event)} - {Event, OtherEvent}
    assert {type(parse_event(body)) for body in CAPTURED} - {OtherEvent} == events


def test_a_replaced_channel_is_read() -> None:
    """A channel that came by a transfer names the channel whose place it took."""
    body = captured("StasisStart", args=["a", "b"])
    body["replace_channel"] = body["channel"] | {"id": "c0"}
    event = parse_event(body)
    assert isinstance(event, StasisStart)
    assert event.replace_channel is not None
    assert (event.channel.id, event.replace_channel.id) == ("c1", "c0")


def test_a_channel_is_read_whole() -> None:
    """All of a channel's fields arrive, with channelvars as its variables and UTC times."""
    event = parse_event(captured("StasisStart", args=["a", "b"]))
    assert event == StasisStart(
        at=datetime(2026, 11, 23, 18, 26, 33, 38000, tzinfo=UTC),
        application="probe",
        channel=Channel(
            id="c1",
            name="Local/tone@lab-00000000;1",
            state="Up",
            caller=Party("12025550100", "Alice"),
            connected=Party("12025550100", "Alice"),
            dialplan=Dialplan("lab", "tone", "Stasis", "probe,a,b"),
            created_at=datetime(2026, 11, 23, 18, 26, 33, 37000, tzinfo=UTC),
            variables={"CHANNEL(linkedid)": "c1", "LABEL": "x"},
        ),
        args=("a", "b"),
    )


def test_a_bridge_lists_its_channels() -> None:
    """An event's bridge lists the channels after the change."""
    event = parse_event(captured("ChannelEnteredBridge"))
    assert isinstance(event, ChannelEnteredBridge)
    assert event.bridge.id == "b1"
    assert event.bridge.type == "mixing"
    assert event.bridge.channel_ids == (event.channel.id,)


def test_recordings_have_their_end() -> None:
    """A failed recording has a cause and no length, a finished recording has a length."""
    failed = parse_event(captured("RecordingFailed"))
    finished = parse_event(captured("RecordingFinished"))
    assert isinstance(failed, RecordingFailed)
    assert isinstance(finished, RecordingFinished)
    assert failed.recording.cause == "Cannot record channel while in bridge"
    assert failed.recording.duration_s is None
    assert (finished.recording.cause, finished.recording.duration_s) == ("", 1.0)


def test_transfers_name_all_parties() -> None:
    """Blind and attended transfers of real calls name every party and the target."""
    blind = parse_event(captured("BridgeBlindTransfer"))
    attended = parse_event(captured("BridgeAttendedTransfer"))
    assert isinstance(blind, BridgeBlindTransfer)
    assert isinstance(attended, BridgeAttendedTransfer)
    assert blind.transferee is not None
    assert (blind.transferee.name, blind.exten) == ("Local/701@lab-00000001;1", "702")
    assert attended.transferee is not None
    assert attended.transfer_target is not None
    assert attended.transferer_first_leg_bridge is not None
    assert attended.destination_type == "bridge"
    assert attended.destination_bridge == attended.transferer_first_leg_bridge.id
    assert attended.destination_application == ""


def test_an_absent_channel_is_none() -> None:
    """An originate has no caller, and a global variable has no channel."""
    dial = captured("Dial")
    dial.pop("caller", None)
    varset = captured("ChannelVarset")
    del varset["channel"]
    parsed_dial, parsed_varset = parse_event(dial), parse_event(varset)
    assert isinstance(parsed_dial, Dial)
    assert isinstance(parsed_varset, ChannelVarset)
    assert parsed_dial.caller is None
    assert parsed_varset.channel is None


def test_an_unknown_event_passes_whole() -> None:
    """An event without a class keeps its type and its whole body."""
    body = captured("DeviceStateChanged")
    event = parse_event(body)
    assert isinstance(event, OtherEvent)
    assert event.type == "DeviceStateChanged"
    assert event.body == body


def test_unknown_fields_pass() -> None:
    """Additional fields of a newer Asterisk are ignored."""
    body = captured("ChannelDestroyed")
    expected = parse_event(body)
    body["novelty"] = body["channel"]["novelty"] = {"deep": [1]}
    assert isinstance(expected, ChannelDestroyed)
    assert parse_event(body) == expected


@pytest.mark.parametrize(
    ("offset", "hours"), [("+0000", 0), ("+0100", 1), ("-0530", -5.5), ("Z", 0)]
)
def test_times_of_any_offset_become_utc(offset: str, hours: float) -> None:
    """Asterisk writes its local time, and we keep UTC."""
    body = captured("StasisEnd") | {"timestamp": f"2026-03-01T12:00:00.250{offset}"}
    at = parse_event(body).at
    expected = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC) - timedelta(hours=hours)
    assert (at, at.tzinfo) == (expected, UTC)


@pytest.mark.parametrize(
    ("path", "kind", "field"),
    [
        (["timestamp"], "ChannelDestroyed", "timestamp"),
        (["application"], "ChannelDestroyed", "application"),
        (["cause"], "ChannelDestroyed", "cause"),
        (["channel"], "ChannelDestroyed", "channel"),
        (["channel", "id"], "ChannelDestroyed.channel", "id"),
        (["channel", "caller", "number"], "ChannelDestroyed.channel.caller", "number"),
        (["channel", "creationtime"], "ChannelDestroyed.channel", "creationtime"),
    ],
)
def test_a_missing_field_is_named(path: list[str], kind: str, field: str) -> None:
    """The error for a missing field names the event and the field."""
    body = captured("ChannelDestroyed")
    holder = body
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    with pytest.raises(AriProtocolError, match="is missing") as caught:
        parse_event(body)
    assert (caught.value.kind, caught.value.field) == (kind, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cause", "16"),
        ("cause_txt", 16),
        ("timestamp", "yesterday"),
        ("timestamp", "2026-03-01T12:00:00"),
        ("timestamp", "0001-01-01T00:00:00+2300"),
        ("channel", []),
        ("channel", None),
    ],
)
def test_a_field_of_another_type_is_named(field: str, value: object) -> None:
    """The error for a field of another type names the field."""
    with pytest.raises(AriProtocolError) as caught:
        parse_event(captured("ChannelDestroyed") | {field: value})
    assert field in str(caught.value)


# Numbers and texts that JSON can hold, and neither PostgreSQL nor UTF-8.
ODD = (10**400, -(2**70), "\0", "a\ud800", "\udfff\0", "x" * 10_000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def texts_in(value: object) -> str:
    """Return all texts of an event and of its values, one after another."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(texts_in(one) for pair in value.items() for one in pair)
    if isinstance(value, tuple):
        return "".join(map(texts_in, value))
    if is_dataclass(value):
        return "".join(texts_in(getattr(value, one.name)) for one in fields(value))
    return ""


@given(body=st.sampled_from(CAPTURED), data=st.data())
def test_a_spoilt_message_gives_an_event_or_a_named_error(
    body: dict[str, Any], data: st.DataObject
) -> None:
    """A message with any spoilt field becomes an event or raises AriProtocolError."""
    spoilt = copy.deepcopy(body)
    holder = spoilt
    while True:
        key = data.draw(st.sampled_from(sorted(holder)))
        if not (isinstance(holder[key], dict) and holder[key] and data.draw(st.booleans())):
            break
        holder = holder[key]
    holder[key] = data.draw(JSON)
    with suppress(AriProtocolError):
        event = parse_event(spoilt)
        assert event.at.tzinfo is UTC
        if not isinstance(event, OtherEvent | ChannelUserevent):
            assert "\0" not in texts_in(event).encode().decode()


@given(body=st.dictionaries(st.text(), JSON))
def test_anything_else_is_refused_by_name(body: dict[str, object]) -> None:
    """A message without a type, a time and an application is no event."""
    body.pop("type", None)
    with pytest.raises(AriProtocolError, match="Event: type"):
        parse_event(body)


@pytest.mark.parametrize(
    ("name", "endpoint", "technology"),
    [
        ("PJSIP/trunk-00000001", "PJSIP/trunk", "PJSIP"),
        ("PJSIP/my-phone-0000002a", "PJSIP/my-phone", "PJSIP"),
        ("Local/2001@agents-0000001;1", "Local/2001@agents", "Local"),
        ("Snoop/1795458393.0-00000000", "Snoop/1795458393.0", "Snoop"),
        ("odd", "odd", "odd"),
    ],
)
def test_a_channel_name_holds_its_endpoint(name: str, endpoint: str, technology: str) -> None:
    """The endpoint is the channel's name without its serial number."""
    body = captured("StasisEnd")["channel"] | {"name": name}
    channel = parse_channel(body)
    assert (channel.endpoint, channel.technology) == (endpoint, technology)


def test_events_are_values() -> None:
    """Two readings of one message are equal, hashable and cannot be changed."""
    one, other = parse_event(captured("StasisStart")), parse_event(captured("StasisStart"))
    assert {one, other} == {one}
    with pytest.raises(AttributeError):
        one.application = "another"  # type: ignore[misc]


def test_info_without_its_status_is_refused() -> None:
    """The error for an incomplete answer names the missing part."""
    with pytest.raises(AriProtocolError, match="AsteriskInfo: status is missing"):
        parse_info({"system": {"version": "22.10.1", "entity_id": "x"}})
