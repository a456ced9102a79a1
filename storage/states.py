"""The moves between the states of recordings, spies, calls, campaigns and members. Pure.

    recording: requested → recording ⇄ paused → captured → stored → purged
    spy:       requested → ringing → live → ended
    dial:      requested → ringing → dialling → up → ended
    call-back: waiting ⇄ dialling → done, cancelled or failed
    campaign:  draft → running ⇄ paused → stopped, or done when no number is left
    member:    requested → ringing → waiting → in → left

Three ends of a recording keep no rendition: `aborted` (it never started), `discarded` (a person
ordered it) and `failed` (with a reason; audio that exists is kept). No recording that has ended
goes back, except when a person retries one whose job was given up. A spy in a browser skips
`ringing`. A dial may skip states, for example if a phone answers at once; so may a member of a
conference: only a guest waits, for the owner.
"""

from collections.abc import Mapping
from typing import TypeVar

from storage.records import (
    CallbackState,
    CampaignState,
    DialState,
    MemberState,
    RecordingState,
    SpyState,
)

State = TypeVar("State", bound=str)

LIVE: frozenset[RecordingState] = frozenset({"requested", "recording", "paused"})
# The audio is deleted. A recording under a legal hold never gets here.
DELETED: frozenset[RecordingState] = frozenset({"discarded", "purged"})
ENDS: frozenset[RecordingState] = frozenset({"stored", "purged", "aborted", "discarded", "failed"})

NEXT: Mapping[RecordingState, frozenset[RecordingState]] = {
    "requested": frozenset({"recording", "aborted", "discarded", "failed"}),
    "recording": frozenset({"paused", "captured", "discarded", "failed"}),
    "paused": frozenset({"recording", "captured", "discarded", "failed"}),
    "captured": frozenset({"stored", "failed"}),
    "stored": frozenset({"purged"}),
    "purged": frozenset(),
    "aborted": frozenset(),
    "discarded": frozenset(),
    "failed": frozenset(),
}

SPY_LIVE: frozenset[SpyState] = frozenset({"requested", "ringing", "live"})

SPY_NEXT: Mapping[SpyState, frozenset[SpyState]] = {
    "requested": frozenset({"ringing", "live", "ended"}),
    "ringing": frozenset({"live", "ended"}),
    "live": frozenset({"ended"}),
    "ended": frozenset(),
}

DIAL_NEXT: Mapping[DialState, frozenset[DialState]] = {
    "requested": frozenset({"ringing", "dialling", "up", "ended"}),
    "ringing": frozenset({"dialling", "up", "ended"}),
    "dialling": frozenset({"up", "ended"}),
    "up": frozenset({"ended"}),
    "ended": frozenset(),
}

# A call-back that waits may get another time.
CALLBACK_NEXT: Mapping[CallbackState, frozenset[CallbackState]] = {
    "waiting": frozenset({"waiting", "dialling", "cancelled", "failed"}),
    "dialling": frozenset({"waiting", "done", "cancelled", "failed"}),
    "done": frozenset(),
    "cancelled": frozenset(),
    "failed": frozenset(),
}

CAMPAIGN_NEXT: Mapping[CampaignState, frozenset[CampaignState]] = {
    "draft": frozenset({"running"}),
    "running": frozenset({"paused", "stopped", "done"}),
    "paused": frozenset({"running", "stopped"}),
    "stopped": frozenset(),
    "done": frozenset(),
}

MEMBER_NEXT: Mapping[MemberState, frozenset[MemberState]] = {
    "requested": frozenset({"ringing", "waiting", "in", "left"}),
    "ringing": frozenset({"waiting", "in", "left"}),
    "waiting": frozenset({"in", "left"}),
    "in": frozenset({"left"}),
    "left": frozenset(),
}


def sources_of(moves: Mapping[State, frozenset[State]], target: State) -> frozenset[State]:
    """Return the states from which these moves lead to `target`.

    Example: `sources_of(SPY_NEXT, "live")` has `requested` and `ringing`.
    """
    return frozenset(state for state, targets in moves.items() if target in targets)
