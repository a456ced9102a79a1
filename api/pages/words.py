"""The words of the pages for the codes of the service: causes, reasons, answers, problems.

A code without words here, such as one of a newer version, is shown as it is.
"""

from flask_babel import get_locale
from flask_babel import gettext as _


def in_words(code: str | None) -> str:
    """Return the words for the code of a cause, a reason or an answer.

    Example: `in_words("pbx-lost")` is "the PBX was away".
    """
    known = _causes() | _reasons() | _answers()
    return known.get(code or "") or code or ""


def shell_words() -> dict[str, dict[str, str]]:
    """What the modules of every page say. In English the API's own words of a problem say more."""
    problems = {} if str(get_locale()) == "en" else _refusals() | _absences()
    return {"problem": problems, "ended": _ends_of_spies()}


def _causes() -> dict[str, str]:
    """Return the words for the causes of a missing recording, and of a gap in one."""
    return {
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
        "unobserved": _("its end was not observed"),
        "file-missing": _("the PBX has no file of it"),
        "file-empty": _("its file is empty"),
        "file-unreadable": _("its file cannot be read"),
    }


def _reasons() -> dict[str, str]:
    """Return the words for the reasons of a recording's end, and of a job's failure."""
    return {
        "on-request": _("on request"),
        "nothing-captured": _("It ended before anything was captured."),
        "no-audio-on-pbx": _("The PBX holds no audio of it."),
        "audio-unusable": _("Its files hold no usable audio."),
        "object-mismatch": _("The object store did not return the bytes that were written."),
        "no-such-object": _("The object store does not hold its audio."),
        "no-such-recording": _("There is no such recording"),
        "manifest-invalid": _("Its manifest cannot be used."),
        "spool-full": _("The disk of the service has no room for it."),
        "pbx-unavailable": _("The PBX does not answer."),
        "store-refused": _("The object store refuses us: rights, bucket or keys are wrong."),
        "store-unavailable": _("The object store does not answer."),
        "catalogue-unavailable": _("The catalogue does not answer."),
        "internal-error": _("It could not be finished; the log says why."),
    }


def _answers() -> dict[str, str]:
    """What a rule said of a call."""
    return {
        "matched": _("matches"),
        "sampled-out": _("matches, but only a share of the calls is recorded"),
        "not-yet": _("could not be answered yet"),
        "error": _("could not be answered"),
    }


def _refusals() -> dict[str, str]:
    """Of problems by their `error_id`: what is not allowed, or not possible any more."""
    return {
        "forbidden": _("You may not do this."),
        "mode-not-permitted": _("You may not listen in this way."),
        "call-ended": _("The call has ended."),
        "nothing-to-record": _("Nobody has answered yet: there is nothing to record."),
        "recording-forbidden": _("A rule forbids to record this call."),
        "recording-forced": _("A rule says that this call is recorded to its end."),
        "recording-not-active": _("The recording is not in a state that allows this."),
        "last-admin": _("This is the last administrator who can sign in."),
        "under-hold": _("It is under a legal hold: nothing of it is deleted."),
        "spy-ended": _("The listening is over."),
        "bad-destination": _("This is no phone that can be rung."),
        "rule-read-only": _("The rule stands in config.toml, and is changed there."),
        "rule-changed": _("Somebody else has changed the rule meanwhile. Reload the page."),
        "too-many": _("These are too many recordings: narrow the search."),
        "user-invalid": _("This name is taken, or the password will not do."),
    }


def _absences() -> dict[str, str]:
    """Of problems by their `error_id`: what is not there, or does not answer."""
    return {
        "no-such-call": _("There is no such call."),
        "no-such-recording": _("There is no such recording"),
        "no-such-rule": _("There is no such rule"),
        "audio-not-stored": _("Its audio is not in the store."),
        "audio-not-stored-yet": _("Its audio is not in the store yet."),
        "pbx-unavailable": _("The PBX does not answer."),
        "store-unavailable": _("The object store does not answer."),
        "catalogue-unavailable": _("The catalogue does not answer."),
        "busy": _("The service has much to do. Try again in a moment."),
        "internal-error": _("Something went wrong on our side"),
    }


def _ends_of_spies() -> dict[str, str]:
    """Why listening has ended."""
    return {
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
        "page-lost": _("the page was away"),
        "not-permitted": _("you may not listen any more"),
        "pbx-unreachable": _("the PBX did not answer"),
        "pbx-lost": _("the PBX was away"),
    }
