"""What is sent to a webhook, and what its answers mean."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from recorder.work.retry import LONGEST_WAIT_S
from recorder.work.webhooks import (
    LONGEST_RETRY_AFTER_S,
    MOST_REJECTIONS,
    Reply,
    Sender,
    Verdict,
    changes_of,
    is_wanted,
    judge,
    parse_retry_after,
    sign,
)
from storage.records import EventRecord, WebhookRecord

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = "whsec_" + "c2VjcmV0" * 4
PASSED = {"after": "2-2"}


def webhook(**fields: object) -> WebhookRecord:
    """A webhook with these fields."""
    usual = {"url": "https://example.com", "types": (), "created_at": NOW, "created_by": "root"}
    return WebhookRecord(id=uuid4(), after="1-1", **(usual | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.1", "10.1.2.3", "192.168.1.1",
     "169.254.169.254", "100.64.0.1", "[fd00::1]", "0x7f.1"],
)  # fmt: skip
def test_private_addresses_are_not_asked(host: str) -> None:
    """However they are written, and that is told."""
    event = EventRecord("1-1", "call.up", NOW, None, {})
    with Sender(allow_private_addresses=False) as sender:
        told = sender.send(f"http://{host}:9/", SECRET, event)
    assert told.status is None
    assert told.told.startswith("its address is private")


def reply(status: int | None) -> Reply:
    """An answer of this status."""
    return Reply(status, f"HTTP {status}")


def test_a_signature_holds_for_this_body_alone() -> None:
    """The library of the scheme accepts what is signed, and nothing that was changed."""
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
def test_what_is_wanted(types: tuple[str, ...], type_: str, wanted: bool) -> None:
    """A type by its name or its kind; without any, every event."""
    assert is_wanted(webhook(types=types), type_) is wanted


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_what_arrived(status: int) -> None:
    """2xx leaves the event behind, and all is well."""
    failing = webhook(attempts=3, rejections=1, failing_since=NOW, retry_at=NOW, last_error="x")
    verdict = judge(failing, reply(status))
    assert verdict == Verdict("delivered")
    changes = changes_of(failing, verdict, reply(status), NOW, PASSED)
    assert changes["after"] == "2-2"
    assert changes["last_delivered_at"] == NOW
    assert (changes["failing_since"], changes["retry_at"]) == (None, None)
    assert (changes["attempts"], changes["rejections"]) == (0, 0)


@given(
    st.sampled_from([None, 408, 425, 429, 500, 502, 503, 504]),
    st.integers(min_value=0, max_value=100_000),
)
def test_a_receiver_that_is_away_is_waited_for(status: int | None, attempts: int) -> None:
    """However often: it is sent again within minutes, and never left out."""
    known = webhook(attempts=attempts)
    verdict = judge(known, reply(status))
    assert verdict.what == "later"
    assert 0 < verdict.wait_s <= LONGEST_WAIT_S
    changes = changes_of(known, verdict, reply(status), NOW, PASSED)
    assert "after" not in changes
    assert changes["attempts"] == attempts + 1
    assert changes["retry_at"] == NOW + timedelta(seconds=verdict.wait_s)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_a_receiver_that_refuses_is_asked_five_times(status: int) -> None:
    """Each time later, more than a minute in all; then the event is left out and counted."""
    known, waited_s = webhook(refused=2), 0.0
    for _ in range(MOST_REJECTIONS - 1):
        verdict = judge(known, reply(status), lambda low, high: high)
        assert verdict.what == "rejected"
        waited_s += verdict.wait_s
        changes = changes_of(known, verdict, reply(status), NOW, PASSED)
        known = webhook(refused=2, rejections=changes["rejections"])
    assert waited_s > 60
    verdict = judge(known, reply(status))
    assert verdict == Verdict("refused")
    changes = changes_of(known, verdict, reply(status), NOW, PASSED)
    assert (changes["after"], changes["refused"], changes["rejections"]) == ("2-2", 3, 0)


def test_a_receiver_that_was_away_long_may_still_refuse() -> None:
    """Attempts without an answer do not count as refusals."""
    assert judge(webhook(attempts=1000), reply(404)).what == "rejected"


def test_a_receiver_that_has_gone() -> None:
    """410 is the end; nothing is left behind."""
    verdict = judge(webhook(), reply(410))
    assert verdict == Verdict("gone")
    changes = changes_of(webhook(), verdict, reply(410), NOW, PASSED)
    assert changes == {"gone": True, "failing_since": NOW, "last_error": "HTTP 410"}


def test_it_has_been_failing_since_it_began_to() -> None:
    """A later failure does not move the time of the first."""
    earlier = NOW - timedelta(hours=1)
    failing = webhook(failing_since=earlier)
    changes = changes_of(failing, judge(failing, reply(500)), reply(500), NOW, PASSED)
    assert changes["failing_since"] == earlier


def test_a_receiver_says_when() -> None:
    """Retry-After is heeded where it is later than we would come, and only then."""
    assert judge(webhook(), Reply(429, "", 600.0)).wait_s == 600
    assert judge(webhook(attempts=20), Reply(503, "", 1.0)).wait_s >= LONGEST_WAIT_S / 2


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        ("99999999", LONGEST_RETRY_AFTER_S),
        ("-5", 0),
        ("soon", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Wed, 25 Nov 2026 12:01:30 -0000", 0),
    ],
)
def test_retry_after(value: str | None, wait_s: float) -> None:
    """Seconds or a date, an hour at most; what cannot be read says nothing."""
    assert parse_retry_after(value, NOW) == wait_s
