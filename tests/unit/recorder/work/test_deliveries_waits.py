"""The time until a webhook's next turn."""

from recorder.work.deliveries import Postponed, wait_after


def test_a_postponed_event_waits_as_long_as_it_was_postponed() -> None:
    """The wait does not depend on the number of attempts."""
    assert wait_after(Postponed(3000.0), 0) == wait_after(Postponed(3000.0), 70) == 3000.0


def test_no_webhook_is_given_up() -> None:
    """After a defect a webhook is retried for ever, within five minutes."""
    assert 0 < wait_after(LookupError(), 0) <= 1
    assert 150 <= wait_after(LookupError(), 10_000) <= 300
