"""Who may do what: every permission and every role, on one page. Pure.

A `service` token has the permissions that its scopes name, and no others.
"""

from collections.abc import Mapping

from storage.records import TokenRecord

CALLS_READ = "calls.read"
RECORDINGS_READ = "recordings.read"  # metadata, manifest, waveform
RECORDINGS_HEAR = "recordings.hear"  # the audio itself
RECORDINGS_CONTROL = "recordings.control"  # start, pause, resume, stop, discard
METRICS_READ = "metrics.read"

PERMISSIONS: Mapping[str, str] = {
    CALLS_READ: "see calls",
    RECORDINGS_READ: "see a recording's metadata, manifest and waveform",
    RECORDINGS_HEAR: "hear a recording",
    RECORDINGS_CONTROL: "start, pause, resume, stop and discard a recording",
    METRICS_READ: "read the metrics",
}

_SEES_AND_HEARS = frozenset({CALLS_READ, RECORDINGS_READ, RECORDINGS_HEAR})

ROLES: Mapping[str, frozenset[str]] = {
    "admin": frozenset(PERMISSIONS),
    "compliance": _SEES_AND_HEARS,
    "supervisor": _SEES_AND_HEARS | {RECORDINGS_CONTROL},
    "agent": _SEES_AND_HEARS,
}


def permissions_of(token: TokenRecord) -> frozenset[str]:
    """What the token permits; a scope that is no permission permits nothing."""
    if token.role == "service":
        return frozenset(token.scopes) & frozenset(PERMISSIONS)
    return ROLES.get(token.role, frozenset())
