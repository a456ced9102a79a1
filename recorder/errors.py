"""Every error that the recorder raises for its callers, on one page.

    EarwitnessError
    ├── CallEnded               the call is over: nobody can record it or listen to it
    ├── NothingToRecord         nobody has answered the call yet
    ├── RecordingForbidden      a rule forbids recording this call
    ├── RecordingForced         a rule forces this recording until the call ends
    ├── RecordingNotActive      the recording has ended, or its state does not allow the request
    ├── UnderHold               a legal hold protects the recording: people only add to it
    ├── RetentionNotExtended    the retention of a recording never becomes shorter
    ├── NoSuchBookmark          the recording has no bookmark with this id
    ├── AudioUnusable           the captured files hold no usable audio
    │   └── NoAudioOnPbx        the PBX has no file of this recording
    ├── RightWithdrawn          the owner of a job has lost the right to it
    ├── SpoolFull               the disk of this worker has no room left
    ├── SpyEnded                the spy is over: its mode cannot change any more
    ├── BadDestination          a spy needs a phone (`PJSIP/9001`) or the browser
    ├── PhoneInCall             the phone of a spy is itself in the call
    ├── CannotDial              no dialplan context is configured through which we dial out
    ├── NotANumber              a text is no telephone number
    ├── NumberRefused           the number may not be dialled; names the rule that refuses it
    ├── PhoneBusy               the phone that would dial is in a call already
    ├── PhoneNotPermitted       this caller may not dial from this phone
    ├── CannotHangUp            only a call that we dialled is hung up
    ├── CampaignNotReady        the state, the mode or the hours of a campaign do not allow this
    ├── NothingReserved         no number is reserved for this agent
    ├── ListInvalid             the header of a list of numbers cannot be read
    ├── ConferenceEnded         the conference is over
    ├── ConferenceLocked        the conference admits nobody else
    ├── CannotTakeIn            the PBX, or the call, does not allow to take the call in
    ├── ControlNotPermitted     this caller may not control conferences, or this one
    ├── ModeNotPermitted        this supervisor may not use this mode
    ├── BadCommand              the command of a program has a wrong field; names it
    ├── ProgramsMayNotDial      programs of this PBX may not make us dial
    ├── RuleInvalid             a rule cannot be used; names the field and the position in it
    └── PbxUnavailable          Asterisk does not answer, or refuses the request

The rules of `storage/errors.py` hold here too: a message is a sentence for a person and holds no
secret, no path and no traceback; `error_id` is for programs and never changes. Faults of ARI itself
are in `recorder/ari/errors.py`; callers outside the recorder get `PbxUnavailable` instead.
"""

from storage.errors import EarwitnessError


class CallEnded(EarwitnessError):
    """The call is over: nobody can record it or listen to it any more."""

    error_id = "call-ended"


class NothingToRecord(EarwitnessError):
    """Nobody has answered the call yet, so there is nothing to record."""

    error_id = "nothing-to-record"


class RecordingForbidden(EarwitnessError):
    """A rule forbids recording this call."""

    error_id = "recording-forbidden"


class RecordingForced(EarwitnessError):
    """A rule forces the recording of this call until the call ends."""

    error_id = "recording-forced"


class RecordingNotActive(EarwitnessError):
    """The recording is not in a state that allows this."""

    error_id = "recording-not-active"


class UnderHold(EarwitnessError):
    """The recording is under a legal hold: nothing of it is deleted or changed, only added."""

    error_id = "under-hold"


class RetentionNotExtended(EarwitnessError):
    """A recording can be kept longer than before, never shorter."""

    error_id = "retention-not-extended"


class NoSuchBookmark(EarwitnessError):
    """There is no bookmark of this id in the recording."""

    error_id = "no-such-bookmark"


class AudioUnusable(EarwitnessError):
    """The captured files hold no usable audio."""

    error_id = "audio-unusable"


class NoAudioOnPbx(AudioUnusable):
    """The PBX holds no audio of this recording."""

    error_id = "no-audio-on-pbx"


class RightWithdrawn(EarwitnessError):
    """The owner of this job has lost the right to it."""

    error_id = "right-withdrawn"


class SpoolFull(EarwitnessError):
    """The worker's disk has no room for this."""

    error_id = "spool-full"


class SpyEnded(EarwitnessError):
    """The spy is over."""

    error_id = "spy-ended"


class BadDestination(EarwitnessError):
    """The destination is neither a phone (TECH/endpoint) nor the browser."""

    error_id = "bad-destination"


class PhoneInCall(EarwitnessError):
    """The phone is itself in the call: its owner would hear the own voice."""

    error_id = "phone-in-call"


class CannotDial(EarwitnessError):
    """This PBX dials out through no dialplan context.

    The message names the key of the configuration.
    """

    error_id = "cannot-dial"


class NotANumber(EarwitnessError):
    """The text is no telephone number."""

    error_id = "not-a-number"


class NumberRefused(EarwitnessError):
    """This number may not be dialled.

    `rule` is `emergency`, `short`, `premium`, `not-allowed`, `do-not-call`, `no-open-hours`,
    `too-late`, or the refused prefix: `+1900`.
    """

    error_id = "number-refused"

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class PhoneBusy(EarwitnessError):
    """The phone is in a call already, or another dialled call rings it."""

    error_id = "phone-busy"


class PhoneNotPermitted(EarwitnessError):
    """This caller may not dial from this phone."""

    error_id = "phone-not-permitted"


class CannotHangUp(EarwitnessError):
    """Only a call that we dialled can be hung up."""

    error_id = "cannot-hang-up"


class CampaignNotReady(EarwitnessError):
    """The state, the mode or the hours of the campaign do not allow this now."""

    error_id = "campaign-not-ready"


class NothingReserved(EarwitnessError):
    """No number is reserved for this agent: ask for the next one first."""

    error_id = "nothing-reserved"


class ListInvalid(EarwitnessError):
    """The first line of the list is no header with a column `number`."""

    error_id = "list-invalid"


class ConferenceEnded(EarwitnessError):
    """The conference is over."""

    error_id = "conference-ended"


class ConferenceLocked(EarwitnessError):
    """The conference admits nobody else."""

    error_id = "conference-locked"


class CannotTakeIn(EarwitnessError):
    """This call cannot be taken into a conference.

    The message says why: the call has no two people who talk, or a key of the configuration that
    it names is not set.
    """

    error_id = "cannot-take-in"


class ControlNotPermitted(EarwitnessError):
    """This caller may not control conferences, or not this one."""

    error_id = "control-not-permitted"


class ModeNotPermitted(EarwitnessError):
    """This supervisor may not use this mode."""

    error_id = "mode-not-permitted"


class BadCommand(EarwitnessError):
    """The command of a program is wrong; the message names the field."""

    error_id = "bad-command"


class ProgramsMayNotDial(EarwitnessError):
    """The programs of this PBX may not make us ring phones and dial numbers.

    The message names the key of the configuration.
    """

    error_id = "programs-may-not-dial"


class RuleInvalid(EarwitnessError):
    """The rule cannot be used.

    `field` is the name of the wrong field, `position` a place in its text, counted in characters
    from 0 (None means the whole text), `hint` a way to mend it, or "".
    """

    error_id = "rule-invalid"

    def __init__(
        self, message: str, *, field: str, position: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.field = field
        self.position = position
        self.hint = hint


class PbxUnavailable(EarwitnessError):
    """Asterisk does not answer, or refuses us."""

    error_id = "pbx-unavailable"
