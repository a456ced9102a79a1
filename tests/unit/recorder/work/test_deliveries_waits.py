"""When a webhook's turn is taken again."""

from recorder.work.deliveries import Postponed, wait_after
from recorder.work.retry import LONGEST_WAIT_S


def test_what_the_answer_said_is_waited_for() -> None:
    """However often it was tried before."""
    assert wait_after(Postponed(3000.0), 0) == wait_after(Postponed(3000.0), 70) == 3000.0


def test_a_defect_gives_no_webhook_up() -> None:
    """It is tried again for ever, in some minutes at most."""
    assert 0 < wait_after(LookupError(), 0) <= 1
    assert LONGEST_WAIT_S / 2 <= wait_after(LookupError(), 10_000) <= LONGEST_WAIT_S
