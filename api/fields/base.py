"""The parts of every request and answer: base models, lists, and types of fields.

The models are the schema of the API: they document the answers, and tests check answers against
them. An answer itself is built as a plain mapping (`fields_of`), because building and validating
a model for each item of a list takes longer than finding the item.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from storage.errors import NameInvalid
from storage.naming import LONGEST, parse_actor_name, parse_name
from storage.records import CallRecord, RecordingRecord, Slice

T = TypeVar("T")


class Exact(BaseModel):
    """An object with exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# Answers

Instant = Annotated[AwareDatetime, Field(description="RFC 3339, in UTC")]
Seconds = Annotated[float, Field(ge=0, description="seconds")]
Span = Annotated[list[Seconds], Field(min_length=2, max_length=2, description="from, to")]


class Answer(Exact):
    """A JSON object of an answer; it always has every field."""


class Person(Answer):
    """One end of a call."""

    number: str | None
    name: str | None


class ListOf(Answer, Generic[T]):
    """One part of a list, newest first; `next_cursor` leads to the next part, null at the end."""

    items: list[T]
    next_cursor: str | None


class RefusedLine(Answer):
    """A line of a CSV that was refused."""

    line: int = Field(description="1 is the header")
    reason: str


def fields_of(model: type[BaseModel], record: object, **more: Any) -> dict[str, Any]:
    """Return the fields of a model, in its order, from `more` or else from the record.

    Example: `fields_of(Spy, record, audio_url=None)`.
    """
    return {
        alias: more[name] if name in more else getattr(record, name)
        for name, alias in _names_of(model)
    }


@cache
def _names_of(model: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """Return the names of a model's fields in Python and in JSON; reading the model is slow."""
    return tuple((name, field.alias or name) for name, field in model.model_fields.items())


def list_fields(found: Slice[T], item_fields: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of one part of a list; `item_fields` builds each item."""
    return {"items": [*map(item_fields, found.items)], "next_cursor": found.next_cursor}


def party_fields(record: CallRecord | RecordingRecord) -> dict[str, Any]:
    """Return the two ends of a call or of a recording."""
    return {
        "caller": {"number": record.caller_number, "name": record.caller_name},
        "callee": {"number": record.callee_number, "name": record.callee_name},
    }


# Requests


def without_nul(text: str) -> str:
    """Refuse a NUL: a text of PostgreSQL cannot hold one, so no stored text can match it."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


def _by(parse: Callable[[str], str]) -> Callable[[str], str]:
    """Return a validator that reports an invalid name as pydantic does any wrong field."""

    def validate(text: str) -> str:
        try:
            return parse(text)
        except NameInvalid as error:
            raise ValueError(str(error)) from error

    return validate


_INSTANT = TypeAdapter(AwareDatetime)


def _read_instant(text: object) -> object:
    """Accept RFC 3339 alone; pydantic would also take a number of seconds.

    A `+` in a URL that is not written as `%2B` arrives as a space, as in `10:00:00 01:00`.
    """
    if not isinstance(text, str) or "T" not in text.upper():
        raise ValueError("expected RFC 3339 with an offset, such as 2026-11-23T18:00:00Z")
    try:
        return _INSTANT.validate_python(text.replace(" ", "+"))
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from None


Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(without_nul)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(without_nul)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(_by(parse_name))
]
# The name of a person or a token.
ActorName = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(_by(parse_actor_name))
]
Time = Annotated[AwareDatetime, BeforeValidator(_read_instant)]


class Query(Exact):
    """The parameters of a URL; an unknown one is an error, because a typo would widen a list."""


class ListQuery(Query):
    """The length and the start of one part of a list."""

    limit: int = Field(50, ge=1, le=200, description="the maximum number of items")
    cursor: Text | None = Field(None, description="`next_cursor` of the part before")


class Body(Exact):
    """The JSON object of a request; a request without a body counts as `{}`."""


class Nothing(Body):
    """A body without fields."""
