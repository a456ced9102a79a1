"""Act on many recordings in the background: tags, holds, exports; and save searches."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from flask import Response

from api.auth import (
    audit_done,
    authorise,
    get_if_own,
    get_if_visible,
    holding_rights,
    principal,
    refuse,
)
from api.fields.base import ListQuery, list_fields
from api.fields.bulk import (
    Bulk,
    BulkList,
    FileQuery,
    NewBulk,
    NewSearch,
    Search,
    SearchList,
    bulk_fields,
    search_fields,
)
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.routes.recordings import narrow
from api.services import services
from api.stored import name_file, redirect_to_object, stream_object
from storage.catalogue import bulks, recordings, searches
from storage.errors import BadCursor, NoSuchBulk, NoSuchRecording, NoSuchSearch, TooMany
from storage.objects.errors import (
    NoSuchObject,
    ObjectMismatch,
    StoreRefused,
    StoreUnavailable,
)
from storage.permissions import BULK_ACTIONS, RECORDINGS_EXPORT, RECORDINGS_HEAR, RECORDINGS_READ

operations = Operations("/api/v1", tag="bulk")

MOST = 10_000
ZIP = "application/zip"


@operations.post(
    "/bulk",
    RECORDINGS_READ,
    {202: Reply("The work starts in the background.", Bulk)},
    body=NewBulk,
    errors=(NoSuchRecording, TooMany),
)
def create_bulk(body: NewBulk) -> Response:
    """Apply one action to many recordings: to those that the search finds now, at most 10,000."""
    for permission in BULK_ACTIONS[body.action]:
        authorise(permission)
    found = _find(body)
    with holding_rights(*BULK_ACTIONS[body.action]) as (tx, _):
        made = bulks.create_bulk(
            tx,
            action=body.action,
            arguments=body.arguments(),
            recordings=found,
            by=principal().name,
            owner_id=principal().id,
        )
        audit_done(tx, "bulk.create", made.id, what=made.action, recordings=len(found))
    return answer(bulk_fields(made, base_url()), 202)


@operations.get("/bulk", RECORDINGS_READ, json(BulkList), query=ListQuery, errors=(BadCursor,))
def list_bulks(query: ListQuery) -> Response:
    """List your work on many recordings, newest first, with its progress."""
    with services().catalogue.begin() as tx:
        page = bulks.list_bulks(tx, owner_id=principal().id, **query.model_dump())
    return answer(list_fields(page, partial(bulk_fields, base_url=base_url())))


@operations.get("/bulk/<uuid:bulk_id>", RECORDINGS_READ, json(Bulk), errors=(NoSuchBulk,))
def get_bulk(bulk_id: UUID) -> Response:
    """Get one piece of work on many recordings, with its progress."""
    found = get_if_own(bulks.get_bulk, bulk_id)
    return answer(bulk_fields(found, base_url()))


@operations.get(
    "/bulk/<uuid:bulk_id>/file",
    RECORDINGS_EXPORT,
    {
        200: Reply("The bytes of the ZIP, with `stream`.", media_types=(ZIP,)),
        302: Reply(
            "A redirect to the ZIP.", headers={"Location": "a presigned URL of the object store"}
        ),
    },
    query=FileQuery,
    errors=(NoSuchBulk, NoSuchObject, ObjectMismatch, StoreRefused, StoreUnavailable),
)
def get_bulk_file(bulk_id: UUID, query: FileQuery) -> Response:
    """Get the ZIP of an export: the audio, the manifests, and an index."""
    authorise(RECORDINGS_HEAR)
    found = get_if_own(bulks.get_bulk, bulk_id)
    if found.object_key is None:
        raise NoSuchBulk("it has no file, or no longer")
    with services().catalogue.begin() as tx:
        has_hidden = bulks.has_hidden(tx, bulk_id, principal().agents)
        if not has_hidden:
            audit_done(tx, "bulk.download", bulk_id)
    if has_hidden:
        refuse("calls of other agents")
    name = f"recordings-{found.created_at:%Y%m%d-%H%M%S}.zip"
    if query.stream:
        answered = Response(content_type=ZIP)
        name_file(answered, name)
        is_permitted = _download_check(bulk_id)
        with stream_object(answered, found.object_key, is_permitted) as stored:
            answered.content_length = stored.size_bytes
        return answered
    return redirect_to_object(found.object_key, ZIP, name, size_bytes=found.size_bytes or 0)


def _download_check(bulk_id: UUID) -> Callable[[], bool]:
    """Return a function that says whether the caller may have the ZIP at any later time."""
    owner_id, agents = principal().token.id, principal().agents
    catalogue, present = services().catalogue, services().rights

    def is_permitted() -> bool:
        rights = present.find(owner_id)
        if rights is None or not rights.may(RECORDINGS_EXPORT, RECORDINGS_HEAR):
            return False
        if rights.agents == agents:
            return True
        with catalogue.begin() as tx:
            return not bulks.has_hidden(tx, bulk_id, rights.agents)

    return is_permitted


def _find(body: NewBulk) -> Sequence[UUID]:
    """Return the ids of the recordings that the caller may see. Raises TooMany, NoSuchRecording."""
    search = body.search.model_dump() if body.search is not None else {}
    narrowed = narrow(search)
    with services().catalogue.begin() as tx:
        found = recordings.list_ids(tx, narrowed, limit=MOST + 1, among=body.ids)
    if len(found) > MOST:
        raise TooMany(f"the search finds more than {MOST} recordings: narrow it")
    missing = set(body.ids or ()).difference(found)
    for one in missing:
        with suppress(NoSuchRecording):  # audits the attempt on a recording of other agents
            get_if_visible(recordings.get_recording, one)
    if missing or not found:
        raise NoSuchRecording("one of these recordings does not exist" if found else "none found")
    return found


@operations.get(
    "/searches", RECORDINGS_READ, json(SearchList), query=ListQuery, errors=(BadCursor,)
)
def list_searches(query: ListQuery) -> Response:
    """List the searches that you have saved, by name."""
    with services().catalogue.begin() as tx:
        page = searches.list_searches(tx, principal().id, **query.model_dump())
    return answer(list_fields(page, search_fields))


@operations.post(
    "/searches", RECORDINGS_READ, {201: Reply("The saved search.", Search)}, body=NewSearch
)
def save_search(body: NewSearch) -> Response:
    """Save a search under a name; it replaces your search of the same name."""
    with holding_rights() as (tx, _):
        made = searches.save_search(tx, owner_id=principal().id, name=body.name, query=body.query)
    return answer(search_fields(made), 201)


@operations.delete(
    "/searches/<uuid:search_id>",
    RECORDINGS_READ,
    {204: Reply("The search is deleted.")},
    errors=(NoSuchSearch,),
)
def delete_search(search_id: UUID) -> Response:
    """Delete one of your saved searches."""
    get_if_own(searches.get_search, search_id)
    with services().catalogue.begin() as tx:
        searches.delete_search(tx, search_id, owner_id=principal().id)
    return Response(status=204)
