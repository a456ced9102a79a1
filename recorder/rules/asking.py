"""A call, as it is kept, put before the rules."""

from datetime import datetime

from recorder.calls.legs import have_talked, legs_of
from recorder.rules import Facts
from storage.records import CallRecord, DecisionRecord


def facts_of(call: CallRecord, at: datetime) -> Facts:
    """What the call itself tells; team, variables and headers are to be found elsewhere."""
    first = next(iter(legs_of(call)), None)
    until = call.ended_at or at
    return Facts(
        at=at,
        answered=have_talked(call),
        direction=call.direction,
        caller=call.caller_number or "",
        callee=call.callee_number or "",
        did=call.did or "",
        queue=call.queue or "",
        agent=call.agent or "",
        pbx=call.pbx,
        context=first.context if first is not None else "",
        duration_s=int((until - call.started_at).total_seconds()),
    )


def facts_then(call: CallRecord, said: DecisionRecord | None) -> tuple[Facts, ...]:
    """What the rules saw, each time they were asked; of a call from before them, what it was."""
    moments = said.moments if said is not None else ()
    if not moments:
        return (facts_of(call, call.answered_at or call.started_at),)
    return tuple(
        Facts(at=datetime.fromisoformat(moment["at"]), **moment["facts"]) for moment in moments
    )
