"""Spans between two moments."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.calls.spans import TimeSpan, intersect, length_s, merge, subtract
from tests.legs import ZERO


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def span(from_s: float, to_s: float) -> TimeSpan:
    return at(from_s), at(to_s)


spans = st.builds(
    lambda from_s, length_s: span(from_s, from_s + length_s), st.integers(0, 100), st.integers(0, 9)
)


def is_in(moment: datetime, found: list[TimeSpan]) -> bool:
    return any(from_at < moment < to_at for from_at, to_at in found)


@given(spans, st.lists(spans, max_size=8), st.integers(0, 120))
def test_subtract_leaves_exactly_the_uncovered(
    whole: TimeSpan, parts: list[TimeSpan], second: int
) -> None:
    """A moment is in the rest if and only if it is in the span and in no part."""
    moment = at(second + 0.5)
    rest = subtract(whole, parts)
    assert is_in(moment, rest) is (is_in(moment, [whole]) and not is_in(moment, parts))
    assert all(one[0] < one[1] for one in rest)
    assert rest == sorted(rest)


@pytest.mark.parametrize(
    ("parts", "rest"),
    [
        ([], [span(0, 10)]),
        ([span(0, 10)], []),
        ([span(5, 10), span(0, 5)], []),
        ([span(0, 4)], [span(4, 10)]),
        ([span(8, 12), span(2, 4)], [span(0, 2), span(4, 8)]),
        ([span(12, 14)], [span(0, 10)]),
        ([span(4, 4)], [span(0, 10)]),
    ],
)
def test_subtract_returns_no_empty_span(parts: list[TimeSpan], rest: list[TimeSpan]) -> None:
    """The parts come in order, and none is empty."""
    assert subtract(span(0, 10), parts) == rest


@given(st.lists(spans, max_size=8), st.integers(0, 120))
def test_merge_keeps_exactly_the_covered(parts: list[TimeSpan], second: int) -> None:
    """The merged spans cover the same time, in order, and do not touch."""
    merged = merge(parts)
    assert is_in(at(second + 0.5), merged) is is_in(at(second + 0.5), parts)
    assert all(one[1] < other[0] for one, other in pairwise(merged))
    assert all(one[0] < one[1] for one in merged)


def test_intersect_and_length() -> None:
    """Spans that merely touch share no time."""
    assert intersect(span(0, 5), span(3, 9)) == span(3, 5)
    assert intersect(span(0, 5), span(5, 9)) is None
    assert length_s([span(0, 5), span(7, 7.5)]) == 5.5
