"""Every error that Earwitness raises on purpose, on one page.

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
    ├── NoSuchBookmark
    ├── NoSuchSearch
    ├── NoSuchBulk                  one thing done to many recordings
    ├── TooMany                     more recordings than are worked on at once
    ├── NoSuchLink
    ├── NoSuchWebhook
    ├── NoSuchObject                the store holds nothing under this key
    ├── CallEnded                   nothing can be recorded of, or heard on, a call that is over
    ├── NothingToRecord             the call has no leg that carries speech yet
    ├── RecordingForbidden          a rule says that the call is never recorded
    ├── RecordingForced             a rule says that the call is recorded to its end
    ├── RecordingNotActive          it has ended, or is not in the state that the request needs
    ├── UnderHold                   nothing under a legal hold is ever deleted
    ├── RetentionNotExtended        a recording can be kept longer, never shorter
    ├── SpyEnded                    the spy is over: it can be switched no more
    ├── BadDestination              a spy can be heard on a phone, TECH/resource, or in the browser
    ├── ModeNotPermitted            this supervisor may not use this mode
    ├── RuleInvalid                 a rule cannot be used; names the field and the place in it
    ├── RuleReadOnly                the rule stands in the configuration, and is changed there
    ├── RuleChanged                 somebody else has changed the rule meanwhile
    ├── TokenInvalid                a token cannot be kept so: its name is taken
    ├── UserInvalid                 a person cannot be kept so; the message says what is wrong
    ├── AudioNotStored              the recording has no rendition (yet, or any more)
    ├── AudioUnusable               the captured files hold nothing that can be kept
    ├── PbxUnavailable              Asterisk does not answer, or refuses
    ├── StoreUnavailable            the object store does not answer
    ├── StoreRefused                the object store answers, and says no
    ├── SpoolFull                   a worker's disk has no room for what it is to make
    ├── ObjectMismatch              what was read back is not what was written
    ├── ManifestInvalid             a manifest's signature or form does not hold
    ├── CatalogueUnavailable        PostgreSQL does not answer
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


class NoSuchBookmark(EarwitnessError):
    """There is no bookmark of this id in the recording."""

    error_id = "no-such-bookmark"


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


class NoSuchObject(EarwitnessError):
    """The object store holds nothing under this key."""

    error_id = "no-such-object"


class CallEnded(EarwitnessError):
    """The call is over: there is nothing left to record or to hear."""

    error_id = "call-ended"


class NothingToRecord(EarwitnessError):
    """No leg of the call carries speech yet."""

    error_id = "nothing-to-record"


class RecordingForbidden(EarwitnessError):
    """A rule says that this call is never recorded."""

    error_id = "recording-forbidden"


class RecordingForced(EarwitnessError):
    """A rule says that this call is recorded to its end."""

    error_id = "recording-forced"


class RecordingNotActive(EarwitnessError):
    """The recording is not in a state that allows this."""

    error_id = "recording-not-active"


class UnderHold(EarwitnessError):
    """The recording is under a legal hold: nothing of it is deleted."""

    error_id = "under-hold"


class RetentionNotExtended(EarwitnessError):
    """A recording can be kept longer than before, never shorter."""

    error_id = "retention-not-extended"


class SpyEnded(EarwitnessError):
    """The spy is over."""

    error_id = "spy-ended"


class BadDestination(EarwitnessError):
    """The destination is neither a phone (TECH/resource) nor the browser."""

    error_id = "bad-destination"


class ModeNotPermitted(EarwitnessError):
    """This supervisor may not use this mode."""

    error_id = "mode-not-permitted"


class RuleInvalid(EarwitnessError):
    """The rule cannot be used.

    `field` is the key of the rule that is wrong, `position` the place in its text, counted in
    characters from 0 (None for the whole of it), `hint` how to mend it, or "".
    """

    error_id = "rule-invalid"

    def __init__(
        self, message: str, *, field: str, position: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.field = field
        self.position = position
        self.hint = hint


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


class AudioUnusable(EarwitnessError):
    """The captured files hold no audio that can be kept."""

    error_id = "audio-unusable"


class PbxUnavailable(EarwitnessError):
    """Asterisk does not answer, or refuses us."""

    error_id = "pbx-unavailable"


class StoreUnavailable(EarwitnessError):
    """The object store does not answer."""

    error_id = "store-unavailable"


class StoreRefused(EarwitnessError):
    """The object store refuses the request: rights, bucket or keys are wrong."""

    error_id = "store-refused"


class SpoolFull(EarwitnessError):
    """The worker's disk has no room for this."""

    error_id = "spool-full"


class ObjectMismatch(EarwitnessError):
    """The object that was read back is not the one that was written."""

    error_id = "object-mismatch"


class ManifestInvalid(EarwitnessError):
    """The manifest is not one of ours, or was changed after it was signed."""

    error_id = "manifest-invalid"


class CatalogueUnavailable(EarwitnessError):
    """PostgreSQL does not answer."""

    error_id = "catalogue-unavailable"


class BadCursor(EarwitnessError):
    """The cursor is not one that this list gave out."""

    error_id = "bad-cursor"


class IdempotencyKeyReused(EarwitnessError):
    """The Idempotency-Key was used before for a different request, or that request still runs."""

    error_id = "idempotency-key-reused"
