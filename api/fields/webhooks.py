"""What is asked and answered about webhooks."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from api.fields.base import Answer, Body, Instant, ListOf, fields_of
from api.permissions import EVENTS
from storage.records import WebhookRecord

LONGEST_URL = 2000
_PATTERN = re.compile(r"([a-z]+)\.(?:\*|[a-z-]+)")


def _deliverable(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        fits = parts.scheme in {"http", "https"} and host and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.username is not None or not re.fullmatch(r"[!-~]+", url):
        raise ValueError("expected a URL such as https://example.com/hook, without a user in it")
    return url


def _known(pattern: str) -> str:
    matched = _PATTERN.fullmatch(pattern)
    if matched is None or matched[1] not in EVENTS:
        kinds = ", ".join(f"{kind}.*" for kind in EVENTS)
        raise ValueError(f"expected a type of event, such as call.ended, or one of {kinds}")
    return pattern


Url = Annotated[str, StringConstraints(max_length=LONGEST_URL), AfterValidator(_deliverable)]
Pattern = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known)]


class NewWebhook(Body):
    """Who is told of what."""

    url: Url = Field(description="http or https", examples=["https://example.com/hook"])
    types: tuple[Pattern, ...] = Field(
        (),
        max_length=32,
        description="types of events, or patterns of them; none is every event",
        examples=[["recording.*", "call.ended"]],
    )


class Webhook(Answer):
    """A server that is told of events, and how that goes."""

    id: UUID
    url: str
    types: list[str]
    created_at: Instant
    created_by: str
    last_delivered_at: Instant | None
    failing_since: Instant | None = Field(description="null while all goes well")
    last_error: str | None = Field(description="why the last delivery that failed did")
    attempts: int = Field(description="so often the next event was sent in vain")
    retry_at: Instant | None = Field(description="when it is sent again")
    refused: int = Field(description="so many events were refused, and left out")
    gone: bool = Field(description="it answered 410: it is told nothing any more")
    secret: str | None = Field(description="told once, when it is made; null afterwards")


class WebhookList(ListOf[Webhook]):
    """A page of the webhooks, oldest first."""


class Tested(Answer):
    """What came back."""

    delivered: bool
    status: int | None = Field(description="null where there was no answer")
    told: str = Field(description="the same in words", examples=["HTTP 204"])


def webhook_fields(record: WebhookRecord, secret: str | None = None) -> dict[str, Any]:
    """A webhook as it is answered."""
    return fields_of(Webhook, record, secret=secret)
