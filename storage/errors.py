"""Every error that storage raises, and those of the whole program, on one page.

    EarwitnessError
    ├── ConfigurationInvalid        the configuration does not start; names file, key, expectation
    ├── NoSuchCall
    ├── NoSuchRecording
    ├── NoSuchSpy
    ├── NoSuchRule
    ├── NoSuchToken
    ├── NoSuchUser
    ├── NoSuchJob                   no job of this id was given up
    ├── LastAdmin                   without this one nobody could manage the service
    ├── NoSuchSearch
    ├── NoSuchBulk                  one thing done to many recordings
    ├── TooMany                     more recordings than are worked on at once
    ├── NoSuchLink
    ├── NoSuchWebhook
    ├── RuleReadOnly                the rule stands in the configuration, and is changed there
    ├── RuleChanged                 somebody else has changed the rule meanwhile
    ├── TokenInvalid                a token cannot be kept so: its name is taken
    ├── UserInvalid                 a person cannot be kept so; the message says what is wrong
    ├── AudioNotStored              the recording has no rendition (yet, or any more)
    ├── ManifestInvalid             a manifest's signature or form does not hold
    ├── CatalogueUnavailable        PostgreSQL does not answer
    │   └── LockTimeout             another process kept a lock for longer than the caller waits
    ├── BadCursor                   a list was continued with a cursor that is not ours
    └── IdempotencyKeyReused        one Idempotency-Key for two different requests

An error's message is a sentence for a person and never holds a secret, a path or a traceback;
`error_id` is for programs and never changes.
"""

from typing import ClassVar


class EarwitnessError(Exception):
    """Something went wrong that Earwitness knows by name."""

    error_id: ClassVar[str] = "internal-error"


class ConfigurationInvalid(EarwitnessError):
    """The configuration cannot be used; the message names file, key and what was expected."""

    error_id = "configuration-invalid"


class NoSuchCall(EarwitnessError):
    """There is no call of this id."""

    error_id = "no-such-call"


class NoSuchRecording(EarwitnessError):
    """There is no recording of this id."""

    error_id = "no-such-recording"


class NoSuchSpy(EarwitnessError):
    """There is no spy of this id."""

    error_id = "no-such-spy"


class NoSuchRule(EarwitnessError):
    """There is no rule of this id."""

    error_id = "no-such-rule"


class NoSuchToken(EarwitnessError):
    """There is no token of this id."""

    error_id = "no-such-token"


class NoSuchUser(EarwitnessError):
    """There is no user of this id."""

    error_id = "no-such-user"


class NoSuchJob(EarwitnessError):
    """No job of this id was given up."""

    error_id = "no-such-job"


class LastAdmin(EarwitnessError):
    """This is the last administrator who can sign in."""

    error_id = "last-admin"


class NoSuchSearch(EarwitnessError):
    """There is no saved search of this id."""

    error_id = "no-such-search"


class NoSuchBulk(EarwitnessError):
    """There is no work on many recordings of this id."""

    error_id = "no-such-bulk"


class TooMany(EarwitnessError):
    """These are more recordings than are worked on at once."""

    error_id = "too-many"


class NoSuchLink(EarwitnessError):
    """There is no link of this id, or it has ended."""

    error_id = "no-such-link"


class NoSuchWebhook(EarwitnessError):
    """There is no webhook of this id."""

    error_id = "no-such-webhook"


class RuleReadOnly(EarwitnessError):
    """The rule stands in the configuration and is changed there."""

    error_id = "rule-read-only"


class RuleChanged(EarwitnessError):
    """Somebody else has changed the rule meanwhile."""

    error_id = "rule-changed"


class TokenInvalid(EarwitnessError):
    """The token cannot be kept so: the name is taken."""

    error_id = "token-invalid"


class UserInvalid(EarwitnessError):
    """The person cannot be kept so: the name is taken, or the password will not do."""

    error_id = "user-invalid"


class AudioNotStored(EarwitnessError):
    """The recording's audio is not in the store."""

    error_id = "audio-not-stored"


class ManifestInvalid(EarwitnessError):
    """The manifest is not one of ours, or was changed after it was signed."""

    error_id = "manifest-invalid"


class CatalogueUnavailable(EarwitnessError):
    """PostgreSQL does not answer."""

    error_id = "catalogue-unavailable"


class LockTimeout(CatalogueUnavailable):
    """Another process holds the lock, and the caller waited as long as it may.

    Retry like any CatalogueUnavailable: the work is done by the next check at the latest.
    """

    error_id = "lock-timeout"


class BadCursor(EarwitnessError):
    """The cursor is not one that this list gave out."""

    error_id = "bad-cursor"


class IdempotencyKeyReused(EarwitnessError):
    """The Idempotency-Key was used before for a different request, or that request still runs."""

    error_id = "idempotency-key-reused"
