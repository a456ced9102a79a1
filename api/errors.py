"""What a request can be refused for before it reaches a call or a recording."""

from collections.abc import Sequence

from storage.errors import AudioNotStored, EarwitnessError


class InternalError(EarwitnessError):
    """Something went wrong on our side."""


class NotAuthenticated(EarwitnessError):
    """A valid token is needed."""

    error_id = "not-authenticated"


class Forbidden(EarwitnessError):
    """The token does not permit this."""

    error_id = "forbidden"


class Busy(EarwitnessError):
    """As many requests or event streams as may be served at once are being served."""

    error_id = "busy"


class RequestInvalid(EarwitnessError):
    """A parameter or the body is not what was expected; `errors` says where.

    Each of `errors` is `{"loc": ["query" | "body" | "header", …], "msg": "…"}`.
    """

    error_id = "request-invalid"

    def __init__(self, errors: Sequence[dict[str, object]]) -> None:
        super().__init__("the request is not valid; see errors")
        self.errors = list(errors)


class RangeNotSatisfiable(EarwitnessError):
    """The range begins behind the end of the audio."""

    error_id = "range-not-satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the audio is {size_bytes} bytes long")
        self.size_bytes = size_bytes


class AudioNotStoredYet(AudioNotStored):
    """The recording's audio is not in the store yet: it is still being captured or encoded."""

    error_id = "audio-not-stored-yet"
