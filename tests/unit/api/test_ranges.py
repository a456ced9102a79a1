"""The Range header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import RangeNotSatisfiable
from api.ranges import ByteSpan, choose_span

ETAG = '"abc"'


def choose(wanted: str | None, size_bytes: int, if_range: str | None = None) -> ByteSpan | None:
    """Return the span for this header."""
    return choose_span(wanted, if_range, etag=ETAG, size_bytes=size_bytes)


@given(st.integers(0, 99), st.integers(0, 200))
def test_from_first_to_last(first: int, more: int) -> None:
    """first-last selects these bytes, up to the end of the audio."""
    span = choose(f"bytes={first}-{first + more}", 100)
    assert span == ByteSpan(first, min(first + more, 99), 100)
    assert span.length == len(range(100)[first : first + more + 1])


@given(st.integers(1, 300))
def test_the_last_bytes(count: int) -> None:
    """-count selects the last bytes, at most all."""
    assert choose(f"bytes=-{count}", 100) == ByteSpan(max(0, 100 - count), 99, 100)


@given(st.integers(100, 10**12))
def test_behind_the_end(first: int) -> None:
    """A range that starts behind the end is refused."""
    with pytest.raises(RangeNotSatisfiable) as refused:
        choose(f"bytes={first}-", 100)
    assert refused.value.size_bytes == 100


@given(st.text(max_size=30))
def test_any_header_is_handled(wanted: str) -> None:
    """Any header gets a span within the audio, the whole, or 416, and no other error."""
    try:
        span = choose(wanted, 100)
    except RangeNotSatisfiable:
        return
    assert span is None or 0 <= span.first <= span.last < 100


@pytest.mark.parametrize(
    ("if_range", "partial"),
    [(None, True), (ETAG, True), ('W/"abc"', False), ('"abd"', False), ("abc", False)],
)
def test_if_range_needs_the_very_tag(if_range: str | None, partial: bool) -> None:
    """A range of another version gets the whole audio."""
    assert (choose("bytes=0-1", 100, if_range) is not None) is partial
