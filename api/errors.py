"""The errors of the HTTP layer.

EarwitnessError
├── InternalError
├── NotAuthenticated
├── Forbidden
├── WrongPassword
├── TooManyAttempts
├── SignInUnproven
├── SignInCancelled
├── NotAdmitted
│   └── NameTaken
├── ProviderUnavailable
├── Busy
├── TooManyStreams
├── RequestInvalid
├── RangeNotSatisfiable
└── AudioNotStored (storage.errors)
    └── AudioNotStoredYet
"""

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


class WrongPassword(EarwitnessError):
    """The old password is wrong."""

    error_id = "wrong-password"


class TooManyAttempts(EarwitnessError):
    """There were too many failed attempts; wait some minutes.

    `wait_s` are the seconds until the next attempt.
    """

    error_id = "too-many-attempts"

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many attempts failed: wait some minutes")
        self.wait_s = wait_s


class SignInUnproven(EarwitnessError):
    """The answer of the identity provider does not prove the person's identity."""

    error_id = "sign-in-unproven"


class SignInCancelled(EarwitnessError):
    """The person or the identity provider cancelled the sign-in."""

    error_id = "sign-in-cancelled"


class NotAdmitted(EarwitnessError):
    """The identity provider gives this person no role, or no team, of ours.

    `subject` is the provider's own id for the person.
    """

    error_id = "not-admitted"

    def __init__(self, reason: str, *, subject: str) -> None:
        super().__init__(reason)
        self.subject = subject


class NameTaken(NotAdmitted):
    """Another user or token already has the name that the identity provider gives."""

    error_id = "name-taken"


class ProviderUnavailable(EarwitnessError):
    """The identity provider does not answer, or not as the protocol demands."""

    error_id = "provider-unavailable"


class Busy(EarwitnessError):
    """The service handles its maximum of requests or event streams at this moment."""

    error_id = "busy"


class TooManyStreams(EarwitnessError):
    """The owner has its maximum of event streams open in this process."""

    error_id = "too-many-streams"


class RequestInvalid(EarwitnessError):
    """A parameter or the body is not valid; `errors` lists the faults.

    Each fault is `{"loc": ["query" | "body" | "header", …], "msg": "…"}`; `faults` are the same as
    pairs.
    """

    error_id = "request-invalid"

    def __init__(self, *faults: tuple[Sequence[str | int], str]) -> None:
        super().__init__("the request is not valid; see errors")
        self.errors = [{"loc": [*loc], "msg": msg} for loc, msg in faults]

    @classmethod
    def at(cls, part: str, name: str, msg: str) -> Self:
        """Return the error for one fault.

        Example: `RequestInvalid.at("body", "from", "must be before `to`")`.
        """
        return cls(((part, name), msg))


class RangeNotSatisfiable(EarwitnessError):
    """The range starts behind the end of the audio."""

    error_id = "range-not-satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the audio is {size_bytes} bytes long")
        self.size_bytes = size_bytes


class AudioNotStoredYet(AudioNotStored):
    """The recording's audio is not stored yet: it is still being captured or encoded."""

    error_id = "audio-not-stored-yet"
