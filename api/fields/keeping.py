"""What is asked and answered about what people write on recordings, and about links to them."""

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
    """What is to be other than it is; what is not given stays."""

    tags: list[Tag] = Field(default_factory=list, max_length=32)
    note: Note | None = None
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="longer than before; null: for ever"
    )

    def changes(self) -> dict[str, Any]:
        """What was given, as a recording holds it: each tag once, no empty note."""
        given = self.model_dump(exclude_unset=True)
        if "tags" in given:
            given["tags"] = tuple(dict.fromkeys(given["tags"]))
        if "note" in given:
            given["note"] = (given["note"] or "").strip() or None
        return given


class NewBookmark(Body):
    """A place, and what to write at it."""

    at_s: float = Field(ge=0, allow_inf_nan=False, description="seconds from the start")
    text: Text


class Reasoned(Body):
    """Why."""

    reason: Reason


class NewLink(Body):
    """How long the link opens the recording."""

    expires_in_s: int = Field(7 * DAY_S, ge=60, le=LONGEST_LINK_S, description="seconds")


class SharedLink(Answer):
    """A link that opens a recording without signing in."""

    id: UUID
    recording_id: UUID
    created_at: Instant
    created_by: str
    expires_at: Instant
    revoked_at: Instant | None
    opened: int = Field(description="how often")
    opened_at: Instant | None = Field(description="when last")
    url: HttpUrl | None = Field(description="told once, when the link is made; null afterwards")


class SharedLinkList(ListOf[SharedLink]):
    """A page of the links to a recording, newest first, the ended ones too."""


def link_fields(record: LinkRecord, url: str | None = None) -> dict[str, Any]:
    """A link as it is answered."""
    return fields_of(SharedLink, record, url=url)
