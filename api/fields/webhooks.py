"""The fields of webhooks."""

import re
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from api.fields.base import Answer, Body, Instant, ListOf, fields_of
from recorder.work.addresses import parse_target
from storage.permissions import EVENTS
from storage.records import StopCause, WebhookRecord

LONGEST_URL = 2000
_PATTERN = re.compile(r"([a-z]+)\.(?:\*|[a-z-]+)")


def _deliverable(url: str) -> str:
    parse_target(url)
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
    """The address of a new webhook, and its types of events."""

    url: Url = Field(description="http or https", examples=["https://example.com/hook"])
    types: tuple[Pattern, ...] = Field(
        (),
        max_length=32,
        description="types of events, or patterns; an empty list is every event",
        examples=[["recording.*", "call.ended"]],
    )


class Webhook(Answer):
    """A server to which events are delivered, and the state of the delivery."""

    id: UUID
    url: str
    types: list[str]
    created_at: Instant
    created_by: str
    last_delivered_at: Instant | None
    failing_since: Instant | None = Field(description="null while deliveries succeed")
    last_error: str | None = Field(description="the error of the last failed delivery")
    attempts: int = Field(description="the number of failed attempts to send the next event")
    retry_at: Instant | None = Field(description="the time of the next attempt")
    refused: int = Field(description="the number of events that the server refused")
    gone: bool = Field(description="the server answered 410; nothing is delivered any more")
    stopped: StopCause | None = Field(
        description="nothing is delivered any more, because the webhook's maker is gone, or may no "
        "longer have webhooks"
    )
    secret: str | None = Field(description="only in the answer to its creation; null afterwards")


class WebhookList(ListOf[Webhook]):
    """One part of the list of webhooks, oldest first."""


class Tested(Answer):
    """The answer of the server."""

    delivered: bool
    status: int | None = Field(description="the HTTP status; null without an answer")
    told: str = Field(description="the result in words", examples=["HTTP 204"])


def webhook_fields(record: WebhookRecord, secret: str | None = None) -> dict[str, Any]:
    """Return the fields of a webhook; `secret` is known only when the webhook is created."""
    return fields_of(Webhook, record, secret=secret)
