"""The next step for a call after the rules have decided. Pure.

    decision, recordings, announcements, clock → start | announce | stop | wait | nothing

The watcher takes the step, and asks again when the call changes or after five seconds, until the
step is `nothing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from recorder.calls.legs import is_conversation, joined_legs, legs_to_capture
from recorder.recording.assurance import is_ended_by_rule
from recorder.rules import Decision
from storage import states
from storage.records import Action, CallRecord, DecisionRecord, RecordingRecord

RECORDS: frozenset[Action] = frozenset({"force", "record"})
# Another process may have seen the decision before this one; it creates its recording within this
# time, or never.
STARTED_WITHIN = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class NextStep:
    """One step; `announce` has a sound and the channels that hear it, `stop` the recordings."""

    action: Literal["start", "announce", "stop", "wait", "nothing"]
    media: str = ""
    channel_ids: tuple[str, ...] = ()
    recording_ids: tuple[UUID, ...] = ()


def is_binding(decision: Decision) -> bool:
    """Whether the decision starts or forbids a recording; the default never forbids one."""
    return decision.action in RECORDS or _forbids(decision)


def next_step(
    call: CallRecord,
    decision: Decision,
    kept: DecisionRecord | None,
    recordings: Sequence[RecordingRecord],
    *,
    is_announcing: bool,
    now: datetime,
) -> NextStep:
    """Return the next step for a live call.

    `kept` is the call's row in the catalogue, with its moments and the channels that have heard an
    announcement; `recordings` are all recordings of the call.
    """
    if not is_binding(decision):
        return NextStep("nothing")
    if _forbids(decision):
        return _step_to_stop(kept, recordings, is_announcing=is_announcing, now=now)
    rule = decision.rule
    # Without a rule (the default records) a recording starts with the conversation.
    begins = rule.begins if rule is not None else "answer"
    is_audible = is_conversation(call) if begins == "answer" else bool(legs_to_capture(call))
    if is_announcing or not is_audible:
        return NextStep("wait")
    counting = _list_counting(recordings, kept)
    if counting and not any(one.state in states.LIVE for one in counting):
        return NextStep("nothing")  # a person stopped it: newcomers must hear no announcement
    if rule is not None and rule.announcement is not None:
        announced = kept.announced if kept is not None else ()
        unannounced = tuple(
            leg.id
            for leg in joined_legs(call)
            if leg.id not in announced and (rule.announce_to == "both" or leg.party == "customer")
        )
        if unannounced:
            return NextStep("announce", media=rule.announcement, channel_ids=unannounced)
    return NextStep("nothing" if counting else "start")


def _step_to_stop(
    kept: DecisionRecord | None,
    recordings: Sequence[RecordingRecord],
    *,
    is_announcing: bool,
    now: datetime,
) -> NextStep:
    live = tuple(one.id for one in recordings if one.state in states.LIVE)
    if live:
        return NextStep("stop", recording_ids=live)
    decided_at = datetime.fromisoformat(kept.moments[-1]["at"]) if kept and kept.moments else None
    is_fresh = decided_at is not None and now - decided_at < STARTED_WITHIN
    return NextStep("wait" if is_announcing or is_fresh else "nothing")


def has_recording(recordings: Sequence[RecordingRecord], kept: DecisionRecord | None) -> bool:
    """Whether a rule has its recording already.

    A recording that a person stopped counts, one that another rule stopped does not: where a rule
    records again, a new recording starts.
    """
    return bool(_list_counting(recordings, kept))


def _list_counting(
    recordings: Sequence[RecordingRecord], kept: DecisionRecord | None
) -> list[RecordingRecord]:
    ours = [one for one in recordings if one.trigger == "rule"]
    return [one for one in ours if kept is None or not is_ended_by_rule(one, kept)]


def _forbids(decision: Decision) -> bool:
    return decision.action == "never" and decision.rule is not None
