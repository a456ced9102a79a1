"""What is asked and answered about saved searches, and about work on many recordings."""

from typing import Any
from uuid import UUID

from pydantic import Field, HttpUrl, model_validator

from api.fields.base import Answer, Body, Instant, ListOf, Name, Query, Tag, Text, fields_of
from api.fields.keeping import Reason
from api.fields.recordings import RecordingSearch
from storage.records import BulkAction, BulkRecord, BulkState, SearchRecord

MOST_PICKED = 1000


class NewSearch(Body):
    """The fields of the library's form, under a name."""

    name: Name
    query: dict[Text, Text] = Field(max_length=20)


class Search(Answer):
    """A search that has a name."""

    id: UUID
    name: str
    query: dict[str, str]


class SearchList(ListOf[Search]):
    """A page of your searches, by name."""


class NewBulk(Body):
    """What is to be done to which recordings: to those picked, or to all that a search finds."""

    action: BulkAction
    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST_PICKED)
    search: RecordingSearch | None = None
    tags: tuple[Tag, ...] = Field((), max_length=32)
    remove_tags: tuple[Tag, ...] = Field((), max_length=32)
    reason: Reason | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "NewBulk":
        if (self.ids is None) == (self.search is None):
            raise ValueError("give either ids or search")
        if self.action == "tag" and not (self.tags or self.remove_tags):
            raise ValueError("give tags or remove_tags")
        if self.action == "hold" and self.reason is None:
            raise ValueError("give a reason")
        return self

    def arguments(self) -> dict[str, Any]:
        """What the action needs to know."""
        if self.action == "tag":
            return {"tags": self.tags, "remove_tags": self.remove_tags}
        return {"reason": self.reason} if self.action == "hold" else {}


class FileQuery(Query):
    """How the file is wanted."""

    stream: bool = Field(False, description="the bytes themselves instead of a redirect")


class RefusedOne(Answer):
    """A recording with which it could not be done."""

    id: UUID
    reason: str


class Bulk(Answer):
    """One thing done to many recordings, in the background."""

    id: UUID
    action: BulkAction
    state: BulkState
    reason: str | None = Field(description="why it failed")
    total: int
    done: int = Field(description="so many were worked on, those refused too")
    refused: list[RefusedOne] = Field(description="the first hundred of them")
    refused_total: int = Field(description="with so many it could not be done")
    created_by: str
    created_at: Instant
    ended_at: Instant | None
    size_bytes: int | None = Field(description="of an export's ZIP")
    file_url: HttpUrl | None = Field(description="where an export's ZIP is, for a week")


class BulkList(ListOf[Bulk]):
    """A page of what you have asked for, newest first."""


def search_fields(record: SearchRecord) -> dict[str, Any]:
    """A saved search as it is answered."""
    return fields_of(Search, record)


def bulk_fields(record: BulkRecord, base_url: str) -> dict[str, Any]:
    """Work on many recordings as it is answered."""
    file_url = f"{base_url}/api/v1/bulk/{record.id}/file" if record.object_key else None
    return fields_of(Bulk, record, file_url=file_url)
