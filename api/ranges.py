"""Read the Range header of a request (RFC 9110, section 14). Pure."""

from dataclasses import dataclass

from werkzeug.http import parse_range_header

from api.errors import RangeNotSatisfiable


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """The bytes from `first` to `last`, both included, of an object of `size_bytes`."""

    first: int
    last: int
    size_bytes: int

    @property
    def content_range(self) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.first}-{self.last}/{self.size_bytes}"

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


def choose_span(
    wanted: str | None, if_range: str | None, *, etag: str, size_bytes: int
) -> ByteSpan | None:
    """Return the span for a GET with these headers; None for the whole object.

    The whole object is the answer to several ranges, to another unit than bytes and to a header
    that does not parse, as the RFC allows; also to a range of another version of the object, which
    `If-Range` names by its ETag. Raises RangeNotSatisfiable.
    """
    parsed = parse_range_header(wanted)
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return None
    if if_range is not None and if_range.strip() != etag:
        return None
    first, stop = parsed.ranges[0]
    if first < 0:  # the last bytes, at most all
        first = max(0, size_bytes + first)
    if first >= size_bytes:
        raise RangeNotSatisfiable(size_bytes)
    return ByteSpan(first, min(stop or size_bytes, size_bytes) - 1, size_bytes)
