"""`until` waits with a deadline."""

import pytest

from lab.waiting import until


def test_answer_is_returned_as_soon_as_there_is_one() -> None:
    """`until` repeats after None and False, and returns the first other result."""
    answers = iter([None, False, 0, "late"])
    assert until(lambda: next(answers)) == 0


def test_failing_assertion_is_retried() -> None:
    """An assertion may fail at first and hold later."""
    counted: list[int] = []

    def third_time() -> bool:
        counted.append(1)
        assert len(counted) >= 3
        return True

    assert until(third_time)


def test_last_failure_is_raised() -> None:
    """After the deadline `until` raises the assertion's own message."""

    def never() -> bool:
        raise AssertionError("the phone did not ring")

    with pytest.raises(AssertionError, match="the phone did not ring"):
        until(never, timeout_s=0.05)


def test_deadline_without_a_message() -> None:
    """Without an assertion, the deadline raises a TimeoutError."""
    with pytest.raises(TimeoutError, match=r"not within 0\.05 s"):
        until(lambda: None, timeout_s=0.05)


def test_other_errors_are_not_swallowed() -> None:
    """Any other error ends the wait at once."""
    with pytest.raises(ZeroDivisionError):
        until(lambda: 1 // 0)
