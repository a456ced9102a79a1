"""The fields of saved searches, and of work on many recordings."""

from typing import Any
from uuid import UUID

from pydantic import Field, HttpUrl, model_validator

from api.fields.base import Answer, Body, Instant, ListOf, Name, Query, Tag, Text, fields_of
from api.fields.keeping import Reason
from api.fields.recordings import RecordingSearch
from storage.records import BulkAction, BulkRecord, BulkState, SearchRecord

MOST_PICKED = 1000


class NewSearch(Body):
    """A name, and the fields of the library's form."""

    name: Name
    query: dict[Text, Text] = Field(max_length=20)


class Search(Answer):
    """A saved search."""

    id: UUID
    name: str
    query: dict[str, str]


class SearchList(ListOf[Search]):
    """One part of the list of your searches, by name."""


class NewBulk(Body):
    """An action on many recordings, given by their ids or by a search."""

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
        """Return the arguments of the action."""
        if self.action == "tag":
            return {"tags": self.tags, "remove_tags": self.remove_tags}
        return {"reason": self.reason} if self.action == "hold" else {}


class FileQuery(Query):
    """The form in which the file is sent."""

    stream: bool = Field(False, description="send the bytes instead of a redirect")


class RefusedOne(Answer):
    """A recording on which the action failed."""

    id: UUID
    reason: str


class Bulk(Answer):
    """An action on many recordings, in the background."""

    id: UUID
    action: BulkAction
    state: BulkState
    reason: str | None = Field(description="the code of the failure, an `error_id`")
    total: int
    done: int = Field(description="the number of processed recordings, including the refused")
    refused: list[RefusedOne] = Field(description="the first 100 recordings that failed")
    refused_total: int = Field(description="the number of recordings that failed")
    created_by: str
    created_at: Instant
    ended_at: Instant | None
    size_bytes: int | None = Field(description="the size of an export's ZIP")
    file_url: HttpUrl | None = Field(description="the address of an export's ZIP, for a week")


class BulkList(ListOf[Bulk]):
    """One part of the list of your work on many recordings, newest first."""


def search_fields(record: SearchRecord) -> dict[str, Any]:
    """Return the fields of a saved search."""
    return fields_of(Search, record)


def bulk_fields(record: BulkRecord, base_url: str) -> dict[str, Any]:
    """Return the fields of work on many recordings; `base_url` starts the address of its file."""
    file_url = f"{base_url}/api/v1/bulk/{record.id}/file" if record.object_key else None
    return fields_of(Bulk, record, file_url=file_url)
