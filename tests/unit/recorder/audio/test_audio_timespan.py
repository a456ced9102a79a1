"""Spans as whole samples."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recorder.audio.timespan import Span, invert_runs, merge_runs, to_runs

runs_ = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def test_every_touched_sample_belongs() -> None:
    """A span that begins or ends within a sample has the whole sample."""
    assert to_runs([Span(0.00101, 0.00199)], 1_000, 100) == [(1, 2)]


def test_binary_fractions_add_no_sample() -> None:
    """0.1 s and 0.3 s at 8 kHz are 800 and 2,400 samples."""
    assert to_runs([Span(0.1, 0.3)], 8_000, 9_999) == [(800, 2_400)]


def test_runs_stay_inside_the_recording() -> None:
    """A run ends with the recording, and a span outside of it gives none."""
    assert to_runs([Span(-1, 0.5), Span(0.9, 3), Span(4, 5)], 10, 10) == [(0, 5), (9, 10)]


@given(runs=runs_)
def test_merged_runs_cover_the_same(runs: list[tuple[int, int]]) -> None:
    """Merging keeps every sample, in order, without touching runs."""
    merged = merge_runs(runs)
    assert _samples(merged) == _samples(runs)
    assert all(left[1] < right[0] for left, right in pairwise(merged))


@given(runs=runs_)
def test_the_inverse_is_the_rest(runs: list[tuple[int, int]]) -> None:
    """Runs and their inverse cover each sample exactly once."""
    rest = invert_runs(merge_runs(runs), 5, 40)
    assert _samples(rest) == set(range(5, 40)) - _samples(runs)


def _samples(runs: list[tuple[int, int]]) -> set[int]:
    return {sample for start, end in runs for sample in range(start, end)}
