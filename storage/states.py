"""The states of a recording, and the only ways between them. Pure.

    requested → recording ⇄ paused → captured → stored → purged

Ends that keep no audio: `aborted` (never began), `discarded` (a person said so), `failed`
(says why; whatever audio exists is kept). States never go back.
"""

from collections.abc import Mapping

LIVE = frozenset({"requested", "recording", "paused"})
ENDS = frozenset({"stored", "purged", "aborted", "discarded", "failed"})

NEXT: Mapping[str, frozenset[str]] = {
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


def sources(target: str) -> frozenset[str]:
    """The states from which a recording may move to `target`."""
    return frozenset(state for state, targets in NEXT.items() if target in targets)
