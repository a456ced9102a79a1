"""Keys of the object store. Only this module builds and parses them.

    {pbx}/{yyyy}/{mm}/{dd}/{recording_id}.{extension}    the rendition
    {pbx}/{yyyy}/{mm}/{dd}/{recording_id}.json           its manifest
    exports/{bulk_id}.zip                                an export of many recordings

The date is the UTC date of the recording's `started_at`. Source: the contract, "Object store
layout".
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Self
from uuid import UUID

MANIFEST_EXTENSION = "json"

_SEGMENT = re.compile(r"[A-Za-z0-9._=-]+")
_EXTENSION = re.compile(r"[a-z0-9]+")
_KEY = re.compile(
    r"(?P<pbx>[^/]+)/(?P<date>[0-9]{4}/[0-9]{2}/[0-9]{2})/(?P<id>[^/.]+)\.(?P<extension>[^/.]+)"
)


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The key of one recording's object; `str()` of it is the text of the key.

    Raises ValueError for a part that cannot be in a key.
    """

    pbx: str
    started_on: date
    recording_id: UUID
    extension: str

    def __post_init__(self) -> None:
        if not _SEGMENT.fullmatch(self.pbx) or self.pbx in {".", ".."}:
            raise ValueError(f"{self.pbx!r} cannot stand in an object key")
        if not _EXTENSION.fullmatch(self.extension):
            raise ValueError(f"{self.extension!r} is no extension of an object")

    @classmethod
    def of(cls, pbx: str, started_at: datetime, recording_id: UUID, extension: str) -> Self:
        """Return the key of a recording that started at `started_at` (aware)."""
        if started_at.tzinfo is None:
            raise ValueError("started_at must be an aware datetime")
        return cls(pbx, started_at.astimezone(UTC).date(), recording_id, extension)

    def __str__(self) -> str:
        day = f"{self.started_on:%m/%d}"  # strftime does not pad years below 1000
        return f"{self.pbx}/{self.started_on.year:04}/{day}/{self.recording_id}.{self.extension}"

    @property
    def manifest(self) -> "ObjectKey":
        """The key of the manifest beside this object."""
        return replace(self, extension=MANIFEST_EXTENSION)

    @property
    def is_manifest(self) -> bool:
        """Whether this is the key of a manifest, not of a rendition."""
        return self.extension == MANIFEST_EXTENSION


def build_export_key(bulk_id: UUID) -> str:
    """Return the key of the ZIP of an export; `parse_key` never accepts it as a recording."""
    return f"exports/{bulk_id}.zip"


def parse_key(text: str) -> ObjectKey:
    """Parse a key, the inverse of `str(ObjectKey)`. Raises ValueError for a key that is not
    ours."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not the key of a recording")
    started_on = datetime.strptime(match["date"], "%Y/%m/%d").replace(tzinfo=UTC).date()
    key = ObjectKey(match["pbx"], started_on, UUID(match["id"]), match["extension"])
    if str(key) != text:  # UUID() also reads braces, capitals and missing dashes
        raise ValueError(f"{text!r} is not the key of a recording")
    return key
