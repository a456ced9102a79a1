"""What a request can be refused for before it reaches a call or a recording."""

from collections.abc import Sequence
from typing import Self

from storage.errors import AudioNotStored, EarwitnessError


class InternalError(EarwitnessError):
    """Something went wrong on our side."""


class NotAuthenticated(EarwitnessError):
    """A valid token is needed."""

    error_id = "not-authenticated"


class Forbidden(EarwitnessError):
    """The token does not permit this."""

    error_id = "forbidden"


class SignInUnproven(EarwitnessError):
    """What came back from the identity provider does not prove who signs in."""

    error_id = "sign-in-unproven"


class SignInCancelled(EarwitnessError):
    """The person, or the identity provider, did not want to sign in."""

    error_id = "sign-in-cancelled"


class NotAdmitted(EarwitnessError):
    """The identity provider knows the person, and says nothing that lets them in; `name` is who.

    `subject` is the provider's own word for them.
    """

    error_id = "not-admitted"

    def __init__(self, reason: str, *, name: str, subject: str) -> None:
        super().__init__(reason)
        self.name, self.subject = name, subject


class NameTaken(NotAdmitted):
    """Somebody else has the name that the identity provider tells."""

    error_id = "name-taken"


class ProviderUnavailable(EarwitnessError):
    """The identity provider does not answer as one should."""

    error_id = "provider-unavailable"


class Busy(EarwitnessError):
    """As many requests or event streams as may be served at once are being served."""

    error_id = "busy"


class RequestInvalid(EarwitnessError):
    """A parameter or the body is not what was expected; `errors` says where.

    Each of `errors` is `{"loc": ["query" | "body" | "header", …], "msg": "…"}`; so are `faults`,
    as pairs.
    """

    error_id = "request-invalid"

    def __init__(self, *faults: tuple[Sequence[str | int], str]) -> None:
        super().__init__("the request is not valid; see errors")
        self.errors = [{"loc": [*loc], "msg": msg} for loc, msg in faults]

    @classmethod
    def at(cls, part: str, name: str, told: str) -> Self:
        """One thing is wrong."""
        return cls(((part, name), told))


class RangeNotSatisfiable(EarwitnessError):
    """The range begins behind the end of the audio."""

    error_id = "range-not-satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the audio is {size_bytes} bytes long")
        self.size_bytes = size_bytes


class AudioNotStoredYet(AudioNotStored):
    """The recording's audio is not in the store yet: it is still being captured or encoded."""

    error_id = "audio-not-stored-yet"
