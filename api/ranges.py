"""Which bytes of the audio a request asks for (RFC 9110, section 14). Pure."""

from dataclasses import dataclass

from werkzeug.http import parse_range_header

from api.errors import RangeNotSatisfiable


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """From byte `first` to byte `last`, both included, of an object of `size_bytes`."""

    first: int
    last: int
    size_bytes: int

    @property
    def content_range(self) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.first}-{self.last}/{self.size_bytes}"

    @property
    def length(self) -> int:
        """How many bytes it is."""
        return self.last - self.first + 1


def choose_span(
    wanted: str | None, if_range: str | None, *, etag: str, size_bytes: int
) -> ByteSpan | None:
    """The span that a GET with these headers is answered with; None for the whole.

    Only one range at a time: several, a unit that is not bytes and what does not parse are answered
    with the whole, as the RFC allows. So is a range of another version of the object (`If-Range`:
    the very ETag, for there is no Last-Modified). Raises RangeNotSatisfiable.
    """
    parsed = parse_range_header(wanted)
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return None
    if if_range is not None and if_range.strip() != etag:
        return None
    first, stop = parsed.ranges[0]
    if first < 0:  # the last so many bytes; more than there are means all
        first = max(0, size_bytes + first)
    if first >= size_bytes:
        raise RangeNotSatisfiable(size_bytes)
    return ByteSpan(first, min(stop or size_bytes, size_bytes) - 1, size_bytes)
