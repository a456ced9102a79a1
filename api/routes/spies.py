"""Spies: a supervisor listens to a live call, whispers to its agent, or barges in."""

import secrets
from functools import partial
from uuid import UUID

from flask import Response

from api.auth import auditing_refusals, get_if_visible, principal
from api.errors import Forbidden
from api.fields.base import list_fields
from api.fields.spies import ChangedSpy, NewSpy, Spy, SpyList, SpyQuery, spy_fields
from api.links import audio_url, base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.errors import (
    BadDestination,
    CallEnded,
    ModeNotPermitted,
    PbxUnavailable,
    PhoneInCall,
    SpyEnded,
)
from storage import states
from storage.catalogue import spies
from storage.errors import BadCursor, NoSuchCall, NoSuchSpy
from storage.permissions import SPIES_READ, modes_of
from storage.records import Mode, SpyRecord

operations = Operations("/api/v1", tag="spies")

BROWSER = "browser"
REFUSALS = (Forbidden, ModeNotPermitted, NoSuchCall, NoSuchSpy)


@operations.get("/spies", SPIES_READ, json(SpyList), query=SpyQuery, errors=(BadCursor,))
def list_spies(query: SpyQuery) -> Response:
    """List spies, newest first: all that have not ended, or all in one state."""
    wanted = [query.state] if query.state else states.SPY_LIVE
    with services().catalogue.begin() as tx:
        page = spies.list_spies(
            tx,
            states=wanted,
            limit=query.limit,
            cursor=query.cursor,
            agents=principal().agents,
            maker_id=principal().id,
        )
    return answer(list_fields(page, spy_fields))


@operations.get("/spies/<uuid:spy_id>", SPIES_READ, json(Spy), errors=(NoSuchSpy,))
def get_spy(spy_id: UUID) -> Response:
    """Get one spy."""
    return answer(
        spy_fields(get_if_visible(partial(spies.get_spy, maker_id=principal().id), spy_id))
    )


@operations.post(
    "/calls/<call_id:call_id>/spies",
    SPIES_READ,
    {201: Reply("The phone rings, or the page can connect.", Spy, headers={"Location": "the spy"})},
    body=NewSpy,
    errors=(
        NoSuchCall,
        CallEnded,
        BadDestination,
        PhoneInCall,
        ModeNotPermitted,
        PbxUnavailable,
    ),
    shown_once="audio_url",
)
def start_spy(call_id: str, body: NewSpy) -> Response:
    """Listen to a call, whisper to its agent, or barge in.

    It also needs the permission of the mode: `spies.listen`, `spies.whisper` or `spies.barge`. On a
    phone the keys 4, 5 and 6 switch to listen, whisper and barge, and 0 ends the spy.

    For the destination `browser` the answer has `audio_url`, a WebSocket; `/static/spy.js` plays
    it. Each binary message, in both directions, is one frame: 20 ms of signed 16-bit little-endian
    PCM, one channel, 16 kHz, so 640 bytes without a header. The server sends the call. The client
    sends the microphone, which is heard only in `whisper` and `barge`. Text messages are JSON
    objects. The URL must be opened within 60 s; after that it is valid until the spy ends, and a
    page that loses the connection has 30 s to open it again.
    """
    token = secrets.token_urlsafe(32) if body.destination == BROWSER else None
    detail = {"mode": body.mode, "destination": body.destination}
    with auditing_refusals("spy.start", call_id, of=REFUSALS, **detail):
        record = services().spies.start(
            call_id,
            mode=body.mode,
            destination=body.destination,
            follow=body.follow,
            owner_id=principal().token.id,
            by=principal().actor,
            audio_token=token,
        )
    fields = spy_fields(record, audio_url(record.id, token) if token is not None else None)
    return answer(fields, 201, Location=f"{base_url()}/api/v1/spies/{record.id}")


@operations.patch(
    "/spies/<uuid:spy_id>",
    SPIES_READ,
    json(Spy, "The spy in its new mode."),
    body=ChangedSpy,
    errors=(NoSuchSpy, SpyEnded, ModeNotPermitted, PbxUnavailable),
)
def switch_spy(spy_id: UUID, body: ChangedSpy) -> Response:
    """Switch to another mode without dropping the supervisor.

    It also needs the permission of the mode. Only the spy's own supervisor may switch it. An admin
    may switch it back to `listen`, but nobody opens the microphone of another person.
    """
    with auditing_refusals("spy.switch", spy_id, of=REFUSALS, mode=body.mode):
        _require_own(_get_visible(spy_id), admin_may=body.mode == "listen")
        _require_mode(body.mode)
        record = services().spies.switch(spy_id, body.mode, by=principal().actor)
    return answer(spy_fields(record))


@operations.delete(
    "/spies/<uuid:spy_id>",
    SPIES_READ,
    json(Spy, "The spy, ended."),
    errors=(NoSuchSpy, PbxUnavailable),
)
def end_spy(spy_id: UUID) -> Response:
    """End a spy; only its own supervisor or an admin may. An ended spy does not change."""
    with auditing_refusals("spy.end", spy_id, of=REFUSALS):
        _require_own(_get_visible(spy_id))
        record = services().spies.end(spy_id, by=principal().actor)
    return answer(spy_fields(record))


def _get_visible(spy_id: UUID) -> SpyRecord:
    """Return a spy of the caller, or one on a call that the caller may see."""
    with services().catalogue.begin() as tx:
        return spies.get_spy(tx, spy_id, agents=principal().agents, maker_id=principal().id)


def _require_own(record: SpyRecord, *, admin_may: bool = True) -> None:
    is_admin = admin_may and principal().token.role == "admin"
    if record.maker_id != principal().id and not is_admin:
        raise Forbidden("this spy belongs to another supervisor")


def _require_mode(mode: Mode) -> None:
    """Raise ModeNotPermitted unless the caller may use this mode."""
    if mode not in modes_of(principal().permissions):
        raise ModeNotPermitted(f"the token does not permit the mode {mode}")
