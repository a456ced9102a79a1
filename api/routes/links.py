"""Share a recording by a link that needs no sign-in; each opening is audited."""

from datetime import timedelta
from uuid import UUID

from flask import Response

from api.audio import Audio
from api.auth import audit_done, authorise, holding_rights, principal
from api.fields.base import ListQuery, list_fields
from api.fields.keeping import NewLink, SharedLink, SharedLinkList, link_fields
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.routes.recordings import get_visible
from api.services import services
from storage.catalogue import links, recordings
from storage.errors import AudioNotStored, BadCursor, NoSuchLink, NoSuchRecording
from storage.permissions import RECORDINGS_HEAR, RECORDINGS_SHARE

operations = Operations("/api/v1", tag="links")


@operations.post(
    "/recordings/<uuid:recording_id>/links",
    RECORDINGS_SHARE,
    {201: Reply("The new link; only this answer has its `url`.", SharedLink)},
    body=NewLink,
    errors=(NoSuchRecording, AudioNotStored),
    shown_once="url",
)
def create_link(recording_id: UUID, body: NewLink) -> Response:
    """Create a link that opens the recording without signing in, until it expires or is revoked."""
    authorise(RECORDINGS_HEAR)
    Audio.of(get_visible(recording_id))
    with holding_rights(RECORDINGS_HEAR) as (tx, rights):
        recordings.get_recording(tx, recording_id, agents=rights.agents)
        made, secret = links.create_link(
            tx,
            recording_id,
            by=principal().name,
            owner_id=principal().id,
            expires_in=timedelta(seconds=body.expires_in_s),
        )
        detail = {"link": str(made.id), "expires_at": made.expires_at.isoformat()}
        audit_done(tx, "link.create", recording_id, **detail)
    return answer(link_fields(made, f"{base_url()}/shared/{secret}"), 201)


@operations.get(
    "/recordings/<uuid:recording_id>/links",
    RECORDINGS_SHARE,
    json(SharedLinkList),
    query=ListQuery,
    errors=(NoSuchRecording, BadCursor),
)
def list_links(recording_id: UUID, query: ListQuery) -> Response:
    """List the links to the recording, with the number and the last time of their openings."""
    get_visible(recording_id)
    with services().catalogue.begin() as tx:
        page = links.list_links(tx, recording_id, **query.model_dump())
    return answer(list_fields(page, link_fields))


@operations.delete(
    "/recordings/<uuid:recording_id>/links/<uuid:link_id>",
    RECORDINGS_SHARE,
    {204: Reply("The link is revoked.")},
    errors=(NoSuchRecording, NoSuchLink),
)
def revoke_link(recording_id: UUID, link_id: UUID) -> Response:
    """Revoke a link; revoking it again changes nothing."""
    get_visible(recording_id)
    with services().catalogue.begin() as tx:
        links.revoke_link(tx, recording_id, link_id)
        audit_done(tx, "link.revoke", recording_id, link=str(link_id))
    return Response(status=204)
