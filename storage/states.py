"""The states of recordings and spies, and the only ways between them. Pure.

    recording: requested → recording ⇄ paused → captured → stored → purged
    spy:       requested → ringing → live → ended

A recording's ends that keep no audio: `aborted` (never began), `discarded` (a person said so),
`failed` (says why; whatever audio exists is kept). States never go back, but for a recording that a
person has tried again after its job was given up. A browser does not ring.
"""

from collections.abc import Mapping

from storage.records import RecordingState, SpyState

LIVE: frozenset[RecordingState] = frozenset({"requested", "recording", "paused"})
# Nothing is left of the audio; no hold lets a recording come here.
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


def sources(target: RecordingState) -> frozenset[RecordingState]:
    """Return the states from which a recording may move to `target`."""
    return frozenset(state for state, targets in NEXT.items() if target in targets)


def spy_sources(target: SpyState) -> frozenset[SpyState]:
    """Return the states from which a spy may move to `target`."""
    return frozenset(state for state, targets in SPY_NEXT.items() if target in targets)
