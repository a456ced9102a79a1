"""The errors of the ARI client.

AriError
├── AriUnavailable     no connection, no answer in time, or ARI is not (yet) loaded
├── AriUnauthorized    401, 403: the user, its password, or its rights are wrong
├── AriNotFound        404 by ARI itself: the thing is gone or never existed
├── AriConflict        409, 412: the thing is in another state than the request needs
├── AriBadRequest      400, 422 and other 4xx: this Asterisk does not understand the request
├── AriServerError     500: Asterisk tried and failed
└── AriProtocolError   the answer or event differs from ARI's description
"""

import json
from http import HTTPStatus


class AriError(Exception):
    """A failed request to ARI, or an unreadable event.

    `path` is the path under `/ari`, without query and credentials. `status` is None without an
    HTTP answer. `message` is one sentence, Asterisk's own if it sent one.
    """

    def __init__(
        self, message: str, *, method: str = "", path: str = "", status: int | None = None
    ) -> None:
        words = (method, path + ":" if path else "", str(status or ""), message)
        super().__init__(" ".join(word for word in words if word))
        self.message = message
        self.method = method
        self.path = path
        self.status = status


class AriUnavailable(AriError):
    """Nobody answers, or ARI is not loaded (yet). Retry later."""


class AriUnauthorized(AriError):
    """Unknown user, wrong password, or a read-only user. A person must correct it."""


class AriNotFound(AriError):
    """The channel, bridge, recording, playback, variable or application does not exist."""


class AriConflict(AriError):
    """The name is taken, or the state of the thing does not allow the request."""


class AriBadRequest(AriError):
    """A parameter is missing, unknown or impossible."""


class AriServerError(AriError):
    """Asterisk understood the request and failed; `message` is its own sentence."""


class AriProtocolError(AriError):
    """A missing `field` of `kind`, or one of another type than in ARI's description."""

    def __init__(self, kind: str, field: str, problem: str) -> None:
        super().__init__(f"{kind}: {field} {problem}")
        self.kind = kind
        self.field = field


_BY_STATUS: dict[int, type[AriError]] = {
    HTTPStatus.BAD_REQUEST: AriBadRequest,
    HTTPStatus.UNAUTHORIZED: AriUnauthorized,
    HTTPStatus.FORBIDDEN: AriUnauthorized,
    HTTPStatus.NOT_FOUND: AriNotFound,
    HTTPStatus.CONFLICT: AriConflict,
    HTTPStatus.PRECONDITION_FAILED: AriConflict,
    HTTPStatus.UNPROCESSABLE_ENTITY: AriBadRequest,
    HTTPStatus.BAD_GATEWAY: AriUnavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: AriUnavailable,
    HTTPStatus.GATEWAY_TIMEOUT: AriUnavailable,
}


def error_for(status: int, message: str | None, *, method: str, path: str) -> AriError:
    """Return the error for an HTTP answer that is not a success.

    `message` is ARI's own sentence, or None if the body is not ARI's. While its ARI modules load,
    for 70 ms of every start (measured on 22.10), Asterisk answers 404 without a message, or with
    one about the resource. Read as "gone", that answer would lose live channels.
    """
    if status == HTTPStatus.NOT_FOUND and message in (None, "Resource not found"):
        return AriUnavailable("ARI is not loaded there", method=method, path=path, status=status)
    fallback = AriBadRequest if 400 <= status < 500 else AriServerError
    error = _BY_STATUS.get(status, fallback)
    return error(message or "no reason given", method=method, path=path, status=status)


def parse_message(body: bytes | None) -> str | None:
    """Return ARI's own sentence from the body of a failed answer, or None if there is none."""
    try:
        message = json.loads(body or b"")["message"]
    except (ValueError, LookupError, TypeError):
        return None
    return message if isinstance(message, str) else None
