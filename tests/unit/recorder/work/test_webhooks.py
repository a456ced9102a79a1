"""Signatures and responses of webhooks."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from recorder.work.webhooks import (
    DeliveryOutcome,
    WebhookResponse,
    changes_of,
    classify_response,
    is_wanted,
    parse_retry_after,
    sign,
)
from storage.records import WebhookRecord

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = "whsec_" + "c2VjcmV0" * 4
PASSED = {"after": "2-2"}


def webhook(**fields: object) -> WebhookRecord:
    """Return a webhook with these fields."""
    usual = {"url": "https://example.com", "types": (), "created_at": NOW, "created_by": "root"}
    return WebhookRecord(id=uuid4(), after="1-1", **(usual | fields))  # type: ignore[arg-type]


def responded(status: int | None) -> WebhookResponse:
    """Return a response with this status."""
    return WebhookResponse(status, f"HTTP {status}")


def test_a_signature_holds_for_this_body_alone() -> None:
    """The library of the scheme accepts our signature, and rejects a changed body or id."""
    headers = sign(SECRET, "7-1", '{"type":"call.ended"}')
    assert Webhook(SECRET).verify(b'{"type":"call.ended"}', headers) == {"type": "call.ended"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"type":"call.up"}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"type":"call.ended"}', {**headers, "webhook-id": "7-2"})


@pytest.mark.parametrize(
    ("types", "type_", "wanted"),
    [
        ((), "call.ended", True),
        (("call.ended",), "call.ended", True),
        (("call.ended",), "call.up", False),
        (("recording.*",), "recording.stored", True),
        (("recording.*", "call.up"), "call.up", True),
        (("recording.*",), "spy.live", False),
    ],
)
def test_a_webhook_wants_its_types(types: tuple[str, ...], type_: str, wanted: bool) -> None:
    """A type is listed by its name or its kind; an empty list wants every event."""
    assert is_wanted(webhook(types=types), type_) is wanted


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_2xx_delivers_the_event(status: int) -> None:
    """After a delivery the webhook moves on and is healthy again."""
    failing = webhook(attempts=3, rejections=1, failing_since=NOW, retry_at=NOW, last_error="x")
    outcome = classify_response(failing, responded(status))
    assert outcome == DeliveryOutcome("delivered")
    changes = changes_of(failing, outcome, responded(status), NOW, PASSED)
    assert changes["after"] == "2-2"
    assert changes["last_delivered_at"] == NOW
    assert (changes["failing_since"], changes["retry_at"]) == (None, None)
    assert (changes["attempts"], changes["rejections"]) == (0, 0)


@given(
    st.sampled_from([None, 408, 425, 429, 500, 502, 503, 504]),
    st.integers(min_value=0, max_value=100_000),
)
def test_a_receiver_that_is_away_is_retried_for_ever(status: int | None, attempts: int) -> None:
    """The event is sent again within five minutes, however often, and never skipped."""
    known = webhook(attempts=attempts)
    outcome = classify_response(known, responded(status))
    assert outcome.kind == "postponed"
    assert 0 < outcome.wait_s <= 300
    changes = changes_of(known, outcome, responded(status), NOW, PASSED)
    assert "after" not in changes
    assert changes["attempts"] == attempts + 1
    assert changes["retry_at"] == NOW + timedelta(seconds=outcome.wait_s)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_a_rejected_event_is_sent_five_times(status: int) -> None:
    """The waits grow to more than a minute in all; then the event is skipped and counted."""
    known, waited_s = webhook(refused=2), 0.0
    for _ in range(4):
        outcome = classify_response(known, responded(status), lambda low, high: high)
        assert outcome.kind == "rejected"
        waited_s += outcome.wait_s
        changes = changes_of(known, outcome, responded(status), NOW, PASSED)
        known = webhook(refused=2, rejections=changes["rejections"])
    assert waited_s > 60
    outcome = classify_response(known, responded(status))
    assert outcome == DeliveryOutcome("refused")
    changes = changes_of(known, outcome, responded(status), NOW, PASSED)
    assert (changes["after"], changes["refused"], changes["rejections"]) == ("2-2", 3, 0)


def test_attempts_without_a_response_are_no_rejections() -> None:
    """A receiver that was away for long may still reject an event a few times."""
    assert classify_response(webhook(attempts=1000), responded(404)).kind == "rejected"


def test_410_stops_the_webhook() -> None:
    """After 410 the webhook keeps its place and gets no more events."""
    outcome = classify_response(webhook(), responded(410))
    assert outcome == DeliveryOutcome("gone")
    changes = changes_of(webhook(), outcome, responded(410), NOW, PASSED)
    assert changes == {"gone": True, "failing_since": NOW, "last_error": "HTTP 410"}


def test_failing_since_is_the_first_failure() -> None:
    """A later failure does not move the time of the first one."""
    earlier = NOW - timedelta(hours=1)
    failing = webhook(failing_since=earlier)
    changes = changes_of(
        failing, classify_response(failing, responded(500)), responded(500), NOW, PASSED
    )
    assert changes["failing_since"] == earlier


def test_retry_after_only_lengthens_the_wait() -> None:
    """A `Retry-After` that is longer than our own wait counts, a shorter one does not."""
    assert classify_response(webhook(), WebhookResponse(429, "", 600.0)).wait_s == 600
    assert classify_response(webhook(attempts=20), WebhookResponse(503, "", 1.0)).wait_s >= 150


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        ("99999999", 3600),
        ("-5", 0),
        ("soon", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Wed, 25 Nov 2026 12:01:30 -0000", 0),
    ],
)
def test_retry_after(value: str | None, wait_s: float) -> None:
    """`Retry-After` is in seconds or a date, an hour at most; anything else means 0."""
    assert parse_retry_after(value, NOW) == wait_s
