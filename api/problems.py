"""Answer errors by RFC 9457 problem documents; the one table of HTTP statuses.

    {"type": "/problems/no-such-recording", "title": "There is no recording of this id",
     "status": 404, "detail": "…", "error_id": "no-such-recording", "instance": "urn:uuid:…"}

`type` and `error_id` never change. `instance` identifies this occurrence; from status 500 on the
log line with the same id has the details that the client does not get.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from flask import Flask, Response, has_request_context, request
from pydantic_core import to_json
from uuid_utils.compat import uuid7
from werkzeug.exceptions import HTTPException

from api.dialplans import DIALPLAN_PATHS
from api.errors import (
    AudioNotStoredYet,
    Busy,
    Forbidden,
    InternalError,
    NameTaken,
    NotAdmitted,
    NotAuthenticated,
    ProviderUnavailable,
    RangeNotSatisfiable,
    RequestInvalid,
    SignInCancelled,
    SignInUnproven,
    TooManyAttempts,
    TooManyStreams,
    WrongPassword,
)
from recorder import errors as recorder_errors
from storage import errors
from storage.errors import EarwitnessError
from storage.objects import errors as store_errors

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
# A dialplan reads each answer as one line of plain text, errors too.
LINE = "text/plain; charset=utf-8"
RETRY_AFTER_S = 5
CHALLENGE = "WWW-Authenticate"

# Error class → HTTP status. From 500 on the message goes to our log, not to the client.
STATUS: Mapping[type[EarwitnessError], int] = {
    SignInUnproven: 400,
    NotAuthenticated: 401,
    SignInCancelled: 401,
    Forbidden: 403,
    NotAdmitted: 403,
    WrongPassword: 403,
    recorder_errors.ModeNotPermitted: 403,
    recorder_errors.RightWithdrawn: 403,
    recorder_errors.ControlNotPermitted: 403,
    recorder_errors.PhoneNotPermitted: 403,
    recorder_errors.NumberRefused: 403,
    recorder_errors.ProgramsMayNotDial: 403,
    errors.NoSuchCall: 404,
    errors.NoSuchCampaign: 404,
    errors.NoSuchCampaignAgent: 404,
    errors.NoSuchRecording: 404,
    errors.NoSuchSpy: 404,
    errors.NoSuchDial: 404,
    errors.NoSuchConference: 404,
    errors.NoSuchMember: 404,
    errors.NoSuchRule: 404,
    errors.NoSuchToken: 404,
    errors.NoSuchUser: 404,
    errors.NoSuchAgent: 404,
    errors.NoSuchJob: 404,
    recorder_errors.NoSuchBookmark: 404,
    errors.NoSuchSearch: 404,
    errors.NoSuchBulk: 404,
    errors.NoSuchTrial: 404,
    errors.NoSuchLink: 404,
    errors.NoSuchWebhook: 404,
    errors.NoSuchCallback: 404,
    errors.NoSuchNumber: 404,
    errors.AudioNotStored: 404,
    NameTaken: 409,
    AudioNotStoredYet: 409,
    recorder_errors.CallEnded: 409,
    recorder_errors.CampaignNotReady: 409,
    recorder_errors.NothingReserved: 409,
    recorder_errors.NothingToRecord: 409,
    recorder_errors.RecordingForbidden: 409,
    recorder_errors.RecordingForced: 409,
    recorder_errors.RecordingNotActive: 409,
    errors.LastAdmin: 409,
    errors.UserOfProvider: 409,
    recorder_errors.UnderHold: 409,
    recorder_errors.RetentionNotExtended: 409,
    recorder_errors.SpyEnded: 409,
    recorder_errors.PhoneInCall: 409,
    recorder_errors.ConferenceEnded: 409,
    recorder_errors.ConferenceLocked: 409,
    recorder_errors.CannotTakeIn: 409,
    errors.ConferenceNameTaken: 409,
    recorder_errors.PhoneBusy: 409,
    recorder_errors.CannotDial: 409,
    recorder_errors.CannotHangUp: 409,
    errors.RuleReadOnly: 409,
    errors.RuleChanged: 409,
    errors.IdempotencyKeyReused: 409,
    errors.WebhookStopped: 409,
    store_errors.NoSuchObject: 410,
    RangeNotSatisfiable: 416,
    TooManyStreams: 429,
    RequestInvalid: 422,
    recorder_errors.ListInvalid: 422,
    errors.TooMany: 422,
    errors.BadCursor: 422,
    recorder_errors.BadDestination: 422,
    recorder_errors.NotANumber: 422,
    recorder_errors.BadCommand: 422,
    recorder_errors.RuleInvalid: 422,
    errors.NameInvalid: 422,
    errors.TokenInvalid: 422,
    errors.UserInvalid: 422,
    errors.AgentInvalid: 422,
    errors.AgentListInvalid: 422,
    TooManyAttempts: 429,
    errors.ConfigurationInvalid: 500,
    store_errors.ObjectMismatch: 500,
    errors.ManifestInvalid: 500,
    recorder_errors.AudioUnusable: 500,
    recorder_errors.NoAudioOnPbx: 500,
    recorder_errors.SpoolFull: 500,
    store_errors.StoreRefused: 502,
    recorder_errors.PbxUnavailable: 503,
    store_errors.StoreUnavailable: 503,
    errors.CatalogueUnavailable: 503,
    errors.LockTimeout: 503,
    ProviderUnavailable: 503,
    Busy: 503,
    InternalError: 500,
    EarwitnessError: 500,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """The problem document of an error."""

    error_id: str
    title: str
    status: int
    detail: str
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[tuple[str, str]] = ()
    instance: str = field(default_factory=lambda: f"urn:uuid:{uuid7()}")


def status_of(error: type[EarwitnessError]) -> int:
    """Return the HTTP status of an error, or of its nearest base class in the table."""
    return next(STATUS[cls] for cls in error.__mro__ if cls in STATUS)


def title_of(error: type[EarwitnessError]) -> str:
    """Return the kind of error: the first sentence of its docstring."""
    return re.split(r"\.\s|\.$|[;:]", " ".join((error.__doc__ or "").split()))[0]


def build_problem(error: EarwitnessError) -> Problem:
    """Build the problem document of one of our own errors."""
    status, title = status_of(type(error)), title_of(type(error))
    members: Mapping[str, Any] = {}
    headers: Sequence[tuple[str, str]] = ()
    if isinstance(error, RequestInvalid):
        members = {"errors": error.errors}
    if isinstance(error, recorder_errors.RuleInvalid):
        members = {"field": error.field, "position": error.position, "hint": error.hint}
    if isinstance(error, recorder_errors.NumberRefused):
        members = {"rule": error.rule}
    if isinstance(error, RangeNotSatisfiable):
        headers = [("Content-Range", f"bytes */{error.size_bytes}")]
    if status == 401:  # a header for each: browsers read only the first challenge of a header
        schemes = ("Bearer",) if _is_from_script() else ("Bearer", "Basic")
        headers = [(CHALLENGE, f'{scheme} realm="earwitness"') for scheme in schemes]
    if isinstance(error, TooManyAttempts):
        headers = [("Retry-After", str(error.wait_s))]
    if status == 503 or isinstance(error, TooManyStreams):
        headers = [("Retry-After", str(RETRY_AFTER_S))]
    return Problem(
        error_id=error.error_id,
        title=title,
        status=status,
        detail=title if status >= 500 else str(error),
        members=members,
        headers=headers,
    )


def _is_from_script() -> bool:
    """Whether the script of a page sends this request, not a program or an address bar.

    If we offered Basic to a page, the browser would open a password window that stops the page;
    our pages lead to their own form. Every browser sends Accept-Language.
    """
    sent = request.headers
    return "Accept-Language" in sent and "text/html" not in sent.get("Accept", "")


def answer_problem(problem: Problem) -> Response:
    """Build the HTTP response of a problem; a dialplan gets one line."""
    if has_request_context() and request.path.startswith(DIALPLAN_PATHS):
        return _answer_line(problem)
    document = {
        "type": f"/problems/{problem.error_id}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "error_id": problem.error_id,
        "instance": problem.instance,
        **problem.members,
    }
    return Response(
        to_json(document), problem.status, headers=list(problem.headers), content_type=MEDIA_TYPE
    )


def as_line(text: str) -> str:
    """Return the text as one line, without characters that end or break a line."""
    return " ".join(text.split()) + "\n"


def _answer_line(problem: Problem) -> Response:
    """Build the answer to a dialplan: `error: request-invalid: query channel: Field required`."""
    faults = problem.members.get("errors", ())
    told = [f"{' '.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults]
    line = as_line(f"error: {problem.error_id}: {'; '.join(told) or problem.detail}")
    return Response(line, problem.status, headers=list(problem.headers), content_type=LINE)


def register_problems(app: Flask) -> None:
    """Answer every error of the application by a problem document."""
    app.register_error_handler(EarwitnessError, _answer_ours)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def _answer_ours(error: EarwitnessError) -> Response:
    problem = build_problem(error)
    facts = {"error_id": problem.error_id, "instance": problem.instance, "detail": str(error)}
    if problem.status >= 502:
        log.warning("request.failed", **facts)
    elif problem.status >= 500:
        log.error("request.failed", **facts, exc_info=error)
    return answer_problem(problem)


def _answer_http(error: HTTPException) -> Response:
    """Answer the refusals of Flask and Werkzeug, such as an unknown path or a wrong method."""
    name = error.name
    headers = [(key, value) for key, value in error.get_headers() if key == "Allow"]
    problem = Problem(
        error_id=re.sub(r"[^a-z]+", "-", name.lower()).strip("-"),
        title=name,
        status=error.code or 500,
        detail=error.description or name,
        headers=headers,
    )
    return answer_problem(problem)


def _answer_unexpected(error: Exception) -> Response:
    problem = build_problem(InternalError())
    log.error(
        "request.failed", error_id=problem.error_id, instance=problem.instance, exc_info=error
    )
    return answer_problem(problem)
