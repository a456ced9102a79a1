"""Webhooks: the servers to which events are delivered."""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID

from flask import Response, request
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from api.auth import audit_done, audit_refused, principal, refuse
from api.errors import NotAuthenticated, RequestInvalid
from api.fields.base import ListQuery, Nothing, list_fields
from api.fields.webhooks import NewWebhook, Tested, Webhook, WebhookList, webhook_fields
from api.operation import Operations, Reply, answer, json
from api.services import services
from api.turns import give_turn_back
from recorder.work.deliveries import stop_unless_permitted
from recorder.work.webhooks import classify_response
from storage.catalogue import webhooks
from storage.catalogue.rights import find_rights
from storage.errors import BadCursor, NoSuchWebhook, WebhookStopped
from storage.permissions import SYSTEM_READ, SYSTEM_WRITE
from storage.records import EventRecord, StopCause, WebhookRecord
from storage.visibility import permissions_for

operations = Operations("/api/v1", tag="webhooks")

STOP_CAUSES: Mapping[StopCause, str] = {
    "owner-gone": "the token or the person that made it is gone",
    "right-lost": "its maker may no longer have webhooks",
}


@operations.get("/webhooks", SYSTEM_READ, json(WebhookList), query=ListQuery, errors=(BadCursor,))
def list_webhooks(query: ListQuery) -> Response:
    """List the webhooks, with the state of their delivery."""
    with services().catalogue.begin() as tx:
        page = webhooks.list_webhooks(tx, **query.model_dump())
    return answer(list_fields(page, webhook_fields))


@operations.post(
    "/webhooks",
    SYSTEM_WRITE,
    {201: Reply("The new webhook; only this answer has its `secret`.", Webhook)},
    body=NewWebhook,
    shown_once="secret",
)
def create_webhook(body: NewWebhook) -> Response:
    """Deliver events to a server from now on.

    Each event of `GET /events` is sent by POST, in order, as `{"type", "at", "data"}`, signed as
    Standard Webhooks define, with the secret `whsec_…`. The server confirms it by a 2xx answer. An
    event may arrive more than once, each time with the same `webhook-id`. The answer 410 ends the
    webhook. If events were dropped before their delivery, the server gets `events.lost`.

    You need the permissions of all its types (an empty list is every type). It gets the events that
    you may see at the time of each delivery, and stops once you may have no webhook. Its server
    must have public addresses, unless `webhooks.allow_private_addresses` is set.
    """
    with give_turn_back(), services().make_sender() as sender:
        refusal = sender.find_refusal(body.url)
    if refusal is not None:
        with services().catalogue.begin() as tx:
            host = urlsplit(body.url).hostname
            audit_refused(tx, "webhook.create", request.path, host=host, reason=refusal)
        raise RequestInvalid.at("body", "url", refusal)
    with services().catalogue.begin() as tx:
        # The session too must still exist: after a sign-out it makes no webhook.
        owner = find_rights(tx, principal().token.id, lock=True)
        if owner is None:
            raise NotAuthenticated("this token is unknown, or no longer valid")
        lacking = (permissions_for(body.types) | {SYSTEM_WRITE}) - owner.permissions
        if not lacking:
            made, secret = webhooks.create_webhook(
                tx, url=body.url, types=body.types, by=owner.name, owner_id=owner.id
            )
            _note(tx, "webhook.create", made, types=body.types)
    if lacking:
        refuse(min(lacking))
    return answer(webhook_fields(made, secret), 201)


@operations.delete(
    "/webhooks/<uuid:webhook_id>",
    SYSTEM_WRITE,
    {204: Reply("The webhook is deleted.")},
    errors=(NoSuchWebhook,),
)
def delete_webhook(webhook_id: UUID) -> Response:
    """Delete a webhook: no event is delivered to its server any more."""
    with services().catalogue.begin() as tx:
        _note(tx, "webhook.delete", webhooks.delete_webhook(tx, webhook_id))
    return Response(status=204)


@operations.post(
    "/webhooks/<uuid:webhook_id>/test",
    SYSTEM_WRITE,
    json(Tested),
    body=Nothing,
    errors=(NoSuchWebhook, WebhookStopped),
)
def test_webhook(webhook_id: UUID) -> Response:
    """Send the event `webhook.test` now, and return the server's answer.

    If it is delivered, all waiting events are sent at once. A webhook whose maker may have none any
    more stops instead: 409 `webhook-stopped`.
    """
    with services().catalogue.begin() as tx:
        found = stop_unless_permitted(tx, webhooks.get_webhook(tx, webhook_id))
        secret = webhooks.get_secret(tx, webhook_id)
    if found.stopped is not None:
        raise WebhookStopped(f"the webhook has stopped: {STOP_CAUSES[found.stopped]}")
    event = EventRecord(
        f"test-{uuid7()}", "webhook.test", datetime.now(UTC), None, {"id": str(webhook_id)}
    )
    with give_turn_back(), services().make_sender() as sender:
        response = sender.send(found.url, secret, event)
    delivered = classify_response(found, response).kind == "delivered"
    with services().catalogue.begin() as tx:
        if delivered:
            webhooks.deliver_now(tx, found)
        _note(tx, "webhook.test", found, told=response.summary)
    return answer({"delivered": delivered, "status": response.status, "told": response.summary})


def _note(tx: Connection, action: str, webhook: WebhookRecord, **detail: object) -> None:
    """Write to the audit trail, with only the host of the URL: its path may be a secret."""
    audit_done(tx, action, webhook.id, host=urlsplit(webhook.url).hostname, **detail)
