"""The fields of annotations, of holds, and of links to recordings."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, HttpUrl, StringConstraints

from api.fields.base import Answer, Body, Instant, ListOf, Tag, Text, fields_of, without_nul
from storage.records import LinkRecord

DAY_S = 86_400
LONGEST_LINK_S = 90 * DAY_S

Note = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(without_nul)]
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000, strip_whitespace=True),
    AfterValidator(without_nul),
]


class ChangedRecording(Body):
    """The changes of a recording; a field that is not given does not change."""

    tags: list[Tag] = Field(default_factory=list, max_length=32)
    note: Note | None = None
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="longer than before; null keeps it for ever"
    )

    def changes(self) -> dict[str, Any]:
        """Return the given fields as a recording stores them: each tag once, no empty note."""
        given = self.model_dump(exclude_unset=True)
        if "tags" in given:
            given["tags"] = tuple(dict.fromkeys(given["tags"]))
        if "note" in given:
            given["note"] = (given["note"] or "").strip() or None
        return given


class NewBookmark(Body):
    """A place of the recording, and the text for it."""

    at_s: float = Field(ge=0, allow_inf_nan=False, description="seconds from the start")
    text: Text


class Reasoned(Body):
    """The reason for an action."""

    reason: Reason


class NewLink(Body):
    """The lifetime of a link."""

    expires_in_s: int = Field(7 * DAY_S, ge=60, le=LONGEST_LINK_S, description="seconds")


class SharedLink(Answer):
    """A link that opens a recording without signing in."""

    id: UUID
    recording_id: UUID
    created_at: Instant
    created_by: str
    expires_at: Instant
    revoked_at: Instant | None
    opened: int = Field(description="the number of openings")
    opened_at: Instant | None = Field(description="the time of the last opening")
    url: HttpUrl | None = Field(description="only in the answer to its creation; null afterwards")


class SharedLinkList(ListOf[SharedLink]):
    """One part of the list of links to a recording, newest first, including the expired."""


def link_fields(record: LinkRecord, url: str | None = None) -> dict[str, Any]:
    """Return the fields of a link; `url` is known only when the link is created."""
    return fields_of(SharedLink, record, url=url)
