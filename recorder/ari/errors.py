"""Everything that can go wrong between us and an Asterisk.

AriError
├── AriUnavailable     no connection, no answer in time, or ARI is not (yet) there
├── AriUnauthorized    401, 403: the user, its password, or its rights
├── AriNotFound        404 by ARI itself: the thing is gone, or never was
├── AriConflict        409, 412: the thing is in another state than the request needs
├── AriBadRequest      400, 422 and other 4xx: the request makes no sense to this Asterisk
├── AriServerError     500: Asterisk tried and failed
└── AriProtocolError   the answer or event is not what ARI's description promises
"""

from http import HTTPStatus


class AriError(Exception):
    """A request to ARI, or an event from it, failed.

    `path` is the path under `/ari`, without query and without credentials; `status` is None
    where there was no HTTP answer; `message` is one sentence, Asterisk's own where it gave one.
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
    """Nobody answers, or ARI is not loaded (yet): worth another try later."""


class AriUnauthorized(AriError):
    """Unknown user, wrong password, or a user that may only read: a person must mend it."""


class AriNotFound(AriError):
    """The channel, bridge, recording, playback, variable or application does not exist."""


class AriConflict(AriError):
    """The name is taken, or the thing is in a state that does not allow this."""


class AriBadRequest(AriError):
    """A parameter is missing, unknown or impossible."""


class AriServerError(AriError):
    """Asterisk understood and failed; `message` is what it says about that."""


class AriProtocolError(AriError):
    """`field` of `kind` is missing or of another type than ARI's description says."""

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
    """Build the error for an HTTP answer that is not a success.

    `message` is ARI's own sentence, None where the body was not ARI's. A 404 without one, or one
    about the resource instead of a thing, comes from an Asterisk whose ARI modules are not loaded
    (for 70 ms of every start: measured on 22.10); taken as "gone" it would lose what still lives.
    """
    if status == HTTPStatus.NOT_FOUND and message in (None, "Resource not found"):
        return AriUnavailable("ARI is not loaded there", method=method, path=path, status=status)
    fallback = AriBadRequest if 400 <= status < 500 else AriServerError
    error = _BY_STATUS.get(status, fallback)
    return error(message or "no reason given", method=method, path=path, status=status)
