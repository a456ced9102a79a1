"""The words of the pages for the codes of the service: causes, reasons, answers, problems.

A code without words here, such as one of a newer version, is shown as it is.
"""

from flask_babel import get_locale
from flask_babel import gettext as _


def in_words(code: str | None) -> str:
    """Return the words for the code of a cause, a reason or an answer.

    Example: `in_words("pbx-lost")` is "the PBX was away".
    """
    known = {
        # Why a recording is missing, or has a gap.
        "never-began": _("never began"),
        "has-gaps": _("has gaps"),
        "not-captured": _("was not captured"),
        "finished": _("ended too early"),
        "stopped": _("was stopped"),
        "failed": _("failed"),
        "aborted": _("never began"),
        "discarded": _("discarded"),
        "pbx-lost": _("the PBX was away"),
        "pbx-stalled": _("the PBX stalled"),
        "wrong-speed": _("the PBX recorded at the wrong speed"),
        "forbidden": _("a rule forbade recording"),
        "pause": _("paused"),
        "unobserved": _("its end was not observed"),
        "file-missing": _("the PBX has no file of it"),
        "file-empty": _("its file is empty"),
        "file-unreadable": _("its file cannot be read"),
        # Why a recording ended, or a job failed.
        "on-request": _("A person discarded it."),
        "nothing-captured": _("It ended before anything was captured."),
        "no-audio-on-pbx": _("The PBX holds no audio of it."),
        "audio-unusable": _("Its files hold no usable audio."),
        "object-mismatch": _("The object store did not return the bytes that were written."),
        "no-such-object": _("The object store does not hold its audio."),
        "no-such-recording": _("There is no such recording"),
        "manifest-invalid": _("Its manifest cannot be used."),
        "right-withdrawn": _("The right to it was withdrawn."),
        "spool-full": _("The disk of the service has no room for it."),
        "pbx-unavailable": _("The PBX does not answer."),
        "store-refused": _("The object store refuses us: rights, bucket or keys are wrong."),
        "store-unavailable": _("The object store does not answer."),
        "catalogue-unavailable": _("The catalogue does not answer."),
        "lock-timeout": _("Another process works on it. Try again in a moment."),
        "internal-error": _("It could not be finished; the log says why."),
        # The answer of a rule.
        "matched": _("matches"),
        "sampled-out": _("matches, but only a share of the calls is recorded"),
        "not-yet": _("matches once the call is answered"),
        "error": _("could not be evaluated"),
    }
    return known.get(code or "") or code or ""


def shell_words() -> dict[str, dict[str, str]]:
    """Return the words for the modules of every page: problems by `error_id`, ends of spies, steps
    and causes of dialled calls.

    In English a module shows the detail of a problem, which says more.
    """
    ended = {
        "ended": _("it was stopped"),
        "hung-up": _("the phone was hung up"),
        "call-ended": _("the call has ended"),
        "channel-gone": _("the agent has left the call"),
        "busy": _("the phone is busy"),
        "no-answer": _("nobody answered the phone"),
        "declined": _("the phone declined"),
        "unreachable": _("the phone cannot be reached"),
        "congestion": _("no line was free"),
        "incompatible": _("the phone and the PBX do not understand each other"),
        "no-such-destination": _("there is no such phone"),
        "never-rang": _("the phone never rang"),
        "never-opened": _("the page did not connect"),
        "page-lost": _("the page lost its connection"),
        "not-permitted": _("you may not listen any more"),
        "transferred": _("the phone was transferred"),
        "pbx-unreachable": _("the PBX did not answer"),
        "pbx-lost": _("the PBX was away"),
    }
    return {
        "problem": {} if str(get_locale()) == "en" else _problems(),
        "ended": ended,
        "dial": _steps_of_a_dial(),
        "dialled": dial_causes(),
    }


def _steps_of_a_dial() -> dict[str, str]:
    return {
        "requested": _("Your phone is being called…"),
        "ringing": _("Your phone rings: answer it"),
        "dialling": _("You have answered: the number is being called…"),
        "up": _("You are talking"),
    }


def dial_causes() -> dict[str, str]:
    """Return the words for the causes of a call that the reader has set up and that has ended."""
    return {
        "ended": _("The call has ended."),
        "cancelled": _("The call was cancelled."),
        "agent-busy": _("Your phone is busy."),
        "agent-no-answer": _("You did not answer your phone."),
        "agent-declined": _("Your phone declined."),
        "agent-unreachable": _("Your phone cannot be reached."),
        "busy": _("The number is busy."),
        "no-answer": _("Nobody answered."),
        "declined": _("The call was declined."),
        "wrong-number": _("There is no such number."),
        "unreachable": _("The number cannot be reached."),
        "congestion": _("No line was free."),
        "not-permitted": _("This call is not permitted any more."),
        "pbx-unreachable": _("The PBX does not answer."),
        "pbx-lost": _("The PBX was away."),
    }


def causes_of_attempts() -> dict[str, str]:
    """Return the words for the causes of a call that the service has set up for another person."""
    return {
        **dial_causes(),
        "agent-busy": _("The phone was busy."),
        "agent-no-answer": _("Nobody answered the phone."),
        "agent-declined": _("The phone declined."),
        "agent-unreachable": _("The phone could not be reached."),
    }


def _problems() -> dict[str, str]:
    return {
        "forbidden": _("You may not do this."),
        "mode-not-permitted": _("You may not use this mode."),
        "call-ended": _("The call has ended."),
        "nothing-to-record": _("Nobody has answered yet: there is nothing to record."),
        "recording-forbidden": _("A rule forbids recording this call."),
        "recording-forced": _("A rule requires recording this call to its end."),
        "recording-not-active": _("The recording is not in a state that allows this."),
        "wrong-password": _("The present password is wrong."),
        "too-many-attempts": _("Too many attempts. Wait some minutes, then try again."),
        "user-of-provider": _("The identity provider of this person says this: change it there."),
        "agent-invalid": _("This agent is on the list already."),
        "agent-list-invalid": _("The first line of the file does not name a column number."),
        "no-such-agent": _("There is no such agent."),
        "last-admin": _("This is the last administrator who can sign in."),
        "under-hold": _(
            "It is under a legal hold: you can add to it, but not change or delete anything."
        ),
        "spy-ended": _("The spy has ended."),
        "bad-destination": _("This phone cannot be called."),
        "phone-in-call": _("This phone is itself in the call."),
        "rule-read-only": _("The rule belongs to config.toml: change it there."),
        "rule-changed": _("Another person has changed the rule. Reload the page."),
        "too-many": _("Too many recordings: narrow the search."),
        "user-invalid": _("This name is taken, or the password is too short."),
        "no-such-call": _("There is no such call."),
        "not-a-number": _("This is no telephone number."),
        "number-refused": _("This service may not call this number."),
        "cannot-dial": _("The PBX has no dial_context: it cannot call."),
        "phone-busy": _("The phone is in a call already."),
        "phone-not-permitted": _("You may not call from this phone."),
        "cannot-hang-up": _("Only a call that was set up here can be hung up here."),
        "campaign-not-ready": _("The state of the campaign does not allow this."),
        "nothing-reserved": _("Ask for the next number first."),
        "list-invalid": _("The first line of the file does not name a column number."),
        "conference-ended": _("The conference has ended."),
        "conference-locked": _("The conference is locked."),
        "conference-name-taken": _("Another open conference has this name."),
        "cannot-take-in": _("This call cannot be taken into the conference."),
        "no-such-conference": _("There is no such conference."),
        "no-such-member": _("This member has left."),
        "no-such-recording": _("There is no such recording"),
        "no-such-rule": _("There is no such rule"),
        "audio-not-stored": _("Its audio is not in the store."),
        "audio-not-stored-yet": _("Its audio is not in the store yet."),
        "pbx-unavailable": _("The PBX does not answer."),
        "store-unavailable": _("The object store does not answer."),
        "catalogue-unavailable": _("The catalogue does not answer."),
        "busy": _("The service is busy. Try again in a moment."),
        "internal-error": _("Something went wrong on our side"),
    }
