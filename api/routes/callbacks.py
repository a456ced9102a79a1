"""Call-backs: calls that are promised for a time."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Response

from api.auth import auditing_refusals, get_if_visible, principal
from api.errors import RequestInvalid
from api.fields.base import list_fields
from api.fields.callbacks import (
    Callback,
    CallbackList,
    CallbackQuery,
    CallbackWithDials,
    LocalHours,
    NewCallback,
    Number,
    NumberQuery,
    callback_fields,
    callback_with_dials_fields,
)
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from recorder.dialling.callbacks import LONGEST_WAIT, CallbackRequest
from recorder.errors import (
    BadDestination,
    CannotDial,
    NotANumber,
    NumberRefused,
    PhoneNotPermitted,
)
from storage.catalogue import callbacks, calls, dials, do_not_call, recordings
from storage.errors import BadCursor, NoSuchCall, NoSuchCallback, NoSuchRecording
from storage.permissions import CALLS_DIAL
from storage.records import CallbackRecord, Hours

operations = Operations("/api/v1", tag="call-backs")


@operations.post(
    "/callbacks",
    CALLS_DIAL,
    {201: Reply("The call-back waits.", Callback, headers={"Location": "the call-back"})},
    body=NewCallback,
    errors=(
        CannotDial,
        BadDestination,
        NotANumber,
        NumberRefused,
        PhoneNotPermitted,
        NoSuchCall,
        NoSuchRecording,
    ),
)
def make_callback(body: NewCallback) -> Response:
    """Call a number back at a time, or now.

    At `next_at` the phone rings, as for `POST /calls`. The number is dialled within the hours in
    all of its time zones; a time outside them moves to the next open time, and `cause` says so. A
    phone that is busy or not answered rings again after a minute, for a day. After a busy or
    unanswered number the next attempt comes after the next wait of `retry_after_s`. The call-back
    is cancelled if the customer calls in and talks to somebody before.

    A number on the do-not-call list is refused, now and at every attempt. The right of the caller
    is asked again at every attempt, too.
    """
    hours, at = read_hours(body.hours), _read_time(body.at)
    call_id = _find_call_id(body)
    promised = services().callbacks
    with auditing_refusals("callback.create", body.from_phone, to=body.to):
        record = promised.make(
            CallbackRequest(
                pbx=services().dialler.choose_pbx(body.pbx),
                phone=body.from_phone,
                number=body.to,
                at=at,
                hours=hours,
                retry_after_s=body.retry_after_s,
                name=body.name,
                note=body.note,
                call_id=call_id,
            ),
            by=principal().actor,
            owner_id=principal().id,
        )
    location = f"{base_url()}/api/v1/callbacks/{record.id}"
    return answer(callback_fields(record, promised.zones_of(record)), 201, Location=location)


@operations.get(
    "/callbacks",
    CALLS_DIAL,
    json(CallbackList),
    query=CallbackQuery,
    errors=(BadCursor, NotANumber, NumberRefused),
)
def list_callbacks(query: CallbackQuery) -> Response:
    """List call-backs, newest first: those for the phones of the agents that you may see."""
    promised = services().callbacks
    number = promised.parse(query.number) if query.number is not None else None
    with services().catalogue.begin() as tx:
        page = callbacks.list_callbacks(
            tx,
            limit=query.limit,
            cursor=query.cursor,
            state=query.state,
            number=number,
            agents=principal().agents,
        )
    return answer(list_fields(page, lambda one: callback_fields(one, promised.zones_of(one))))


@operations.get(
    "/callbacks/<uuid:callback_id>",
    CALLS_DIAL,
    json(CallbackWithDials),
    errors=(NoSuchCallback,),
)
def get_callback(callback_id: UUID) -> Response:
    """Get one call-back, with its calls."""
    return answer(_fields_with_dials(get_if_visible(callbacks.get_callback, callback_id)))


@operations.delete(
    "/callbacks/<uuid:callback_id>",
    CALLS_DIAL,
    json(CallbackWithDials, "The call-back, cancelled."),
    errors=(NoSuchCallback,),
)
def cancel_callback(callback_id: UUID) -> Response:
    """Cancel a call-back; phones that it rings are hung up, and a talk goes on.

    A call-back that is over does not change.
    """
    get_if_visible(callbacks.get_callback, callback_id)
    record = services().callbacks.cancel(callback_id, by=principal().actor)
    return answer(_fields_with_dials(record))


@operations.get(
    "/numbers/<number>",
    CALLS_DIAL,
    json(Number),
    query=NumberQuery,
    errors=(NotANumber, NumberRefused),
)
def get_number(number: str, query: NumberQuery) -> Response:
    """Read a number as a person writes it: its time zones, and whether they are in the hours."""
    promised = services().callbacks
    parsed = promised.parse(number, query.pbx)
    zones, opens_at, is_open = promised.find_opening(parsed, query.pbx)
    with services().catalogue.begin() as tx:
        listed = bool(do_not_call.find(tx, [parsed]))
    return answer(
        {
            "number": parsed,
            "zones": zones,
            "is_open": is_open,
            "opens_at": opens_at,
            "do_not_call": listed,
        }
    )


def _fields_with_dials(record: CallbackRecord) -> dict[str, object]:
    with services().catalogue.begin() as tx:
        made = dials.list_dials(tx, callback_id=record.id)
    return callback_with_dials_fields(record, services().callbacks.zones_of(record), made)


def read_hours(wanted: LocalHours | None) -> Hours | None:
    """Return the hours of a request. Raises RequestInvalid if they go beyond the configuration."""
    limits = services().callbacks.hours
    if wanted is None:
        return None
    found = wanted.within(limits)
    if found is None:
        days = ", ".join(map(str, limits.weekdays))
        allowed = f"from {limits.from_hour} to {limits.to_hour} on the weekdays {days}"
        raise RequestInvalid.at("body", "hours", f"must be within those of this service: {allowed}")
    return found


def _read_time(wanted: datetime | None) -> datetime | None:
    """Return the time of a request; one that has passed is now. Raises RequestInvalid."""
    now = datetime.now(UTC)
    if wanted is None or wanted < now:
        return None
    if wanted > now + LONGEST_WAIT:
        raise RequestInvalid.at("body", "at", "must be within a year")
    return wanted


def _find_call_id(body: NewCallback) -> str | None:
    """Return the call that led to the call-back. Raises NoSuchCall, NoSuchRecording."""
    if body.recording_id is not None:
        return get_if_visible(recordings.get_recording, body.recording_id).call_id
    if body.call_id is not None:
        return get_if_visible(calls.get_call, body.call_id).id
    return None
