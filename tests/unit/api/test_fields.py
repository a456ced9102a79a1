"""The fields of answers agree with the models that document them."""

import json
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import to_json

from api.fields.bulk import Bulk, bulk_fields
from api.fields.calls import Call, call_fields
from api.fields.recordings import Recording, RecordingQuery, recording_fields
from api.fields.webhooks import Webhook, webhook_fields
from storage import records, states
from storage.records import (
    BulkRecord,
    CallRecord,
    DecisionRecord,
    Gap,
    LegRecord,
    Pause,
    RecordingParty,
    RecordingRecord,
    WebhookRecord,
)

INSTANTS = st.floats(0, 4e9).map(lambda second: datetime.fromtimestamp(second, UTC))
RULE = {"id": "config-1", "version": 1, "name": "support"}
MOMENT = {
    "at": "2026-11-24T12:00:00+00:00",
    "moment": "answer",
    "facts": {"did": "3000"},
    "asked": [
        {
            "rule_id": "config-1",
            "version": 1,
            "name": "support",
            "action": "record",
            "answer": "matched",
            "detail": "",
        }
    ],
    "action": "record",
    "rule": RULE,
    "reason": "rule-decided",
}
DECISION = DecisionRecord("main-1.0", "record", RULE, "rule-decided", (MOMENT,), ("1.0",))
TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=20)
SECONDS = st.floats(0, 10_000)
PEOPLE = dict.fromkeys(
    ("caller_number", "caller_name", "callee_number", "callee_name", "did", "agent"), TEXTS
)
PARTIES = st.builds(
    RecordingParty,
    party=st.sampled_from(get_args(records.Speaker)),
    side=st.sampled_from(get_args(records.Side)),
    spans=st.lists(st.tuples(SECONDS, st.none() | SECONDS)).map(tuple),
    track=st.none() | st.integers(0, 63),
)
DIRECTIONS = st.sampled_from(get_args(records.Direction))


def read_back(answered: dict[str, Any]) -> Any:
    """Return the answer as a client reads it."""
    return json.loads(to_json(answered))


@given(
    st.builds(
        RecordingRecord,
        id=st.uuids(),
        state=st.sampled_from(get_args(records.RecordingState)),
        trigger=st.sampled_from(["rule", "manual", "dtmf", "dialplan"]),
        layout=st.sampled_from(get_args(records.Layout)),
        format=st.sampled_from(["opus", "mp3", "flac", "wav"]),
        direction=DIRECTIONS,
        started_at=st.none() | INSTANTS,
        duration_s=st.none() | SECONDS,
        pauses=st.lists(st.builds(Pause, INSTANTS, st.none() | INSTANTS, st.text())).map(tuple),
        parties=st.lists(PARTIES).map(tuple),
        continues=st.none() | st.uuids(),
        gaps=st.lists(st.builds(Gap, SECONDS, SECONDS, st.text())).map(tuple),
        sha256=st.none() | st.just("0" * 64),
        size_bytes=st.none() | st.integers(0, 2**40),
        **PEOPLE,
    )
)
def test_a_recording_agrees_with_its_model(record: RecordingRecord) -> None:
    """A recording's answer has exactly the documented fields, in UTC."""
    answered = read_back(recording_fields(record, "http://ear.example"))
    Recording.model_validate(answered)
    assert answered["started_at"] is None or answered["started_at"].endswith("Z")


@given(
    st.builds(
        CallRecord,
        state=st.sampled_from(["ringing", "up", "ended"]),
        direction=DIRECTIONS,
        started_at=INSTANTS,
        answered_at=st.none() | INSTANTS,
        queue=st.none() | st.just("sales"),
        waiting_since=st.none() | INSTANTS,
        people=st.integers(0, 4),
        joined=st.lists(st.just("main-2.0")).map(tuple),
        channels=st.lists(
            st.builds(
                LegRecord,
                party=st.sampled_from(["customer", "agent"]) | st.none(),
                created_at=INSTANTS,
            )
        ).map(tuple),
        **PEOPLE,
    ),
    st.lists(st.uuids()),
    st.none() | st.just(DECISION),
)
def test_a_call_agrees_with_its_model(
    record: CallRecord, made: list[UUID], decision: DecisionRecord | None
) -> None:
    """A call's answer has exactly the documented fields, and so have its channels."""
    Call.model_validate(read_back(call_fields(record, made, made, decision)))


def test_fields_keep_their_order() -> None:
    """Every answer has its fields in the order of the document."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    bulk = BulkRecord(UUID(int=0), "tag", {}, 1, "done", "root", at)
    assert [*bulk_fields(bulk, "")] == [*Bulk.model_fields]
    webhook = WebhookRecord(UUID(int=0), "https://example.com", (), at, "root", "")
    assert [*webhook_fields(webhook)] == [*Webhook.model_fields]


def test_the_states_are_the_catalogues() -> None:
    """The API knows every state of the catalogue."""
    assert set(get_args(records.RecordingState)) == set(states.NEXT)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-23T18:00:00Z", datetime(2026, 11, 23, 18, tzinfo=UTC)),
        ("2026-11-23T19:00:00.5+01:00", datetime(2026, 11, 23, 18, 0, 0, 500_000, UTC)),
        ("2026-11-23T19:00:00 01:00", datetime(2026, 11, 23, 18, tzinfo=UTC)),
        ("2026-11-23t18:00:00z", datetime(2026, 11, 23, 18, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339(text: str, instant: datetime) -> None:
    """Any offset is understood, also after a URL turned its plus into a space."""
    assert RecordingQuery.model_validate({"from": text}).from_at == instant


@pytest.mark.parametrize(
    "text", ["2026-11-23", "2026-11-23T18:00:00", "1795424777", "now", "", "T", "2026-13-01T00:00Z"]
)
def test_other_values_are_no_time(text: str) -> None:
    """A date, a time without an offset and a number of seconds are refused."""
    with pytest.raises(ValidationError):
        RecordingQuery.model_validate({"from": text})
