"""List every permission and every role on one page. Pure.

All rights are written here alone: the API asks about a request, the recorder
about a spy that outlives its request.

A `service` token has only the permissions that its scopes name. Any token can be created without
some permissions of its role.
"""

from collections.abc import Collection, Mapping

from storage.records import BulkAction, Mode, TokenRecord

CALLS_READ = "calls.read"
CALLS_DIAL = "calls.dial"  # set up calls and call-backs
RECORDINGS_READ = "recordings.read"  # metadata, manifest, waveform
RECORDINGS_HEAR = "recordings.hear"  # the audio itself
RECORDINGS_CONTROL = "recordings.control"  # start, pause, resume, stop, discard
RECORDINGS_ANNOTATE = "recordings.annotate"  # tags, note, bookmarks
RECORDINGS_HOLD = "recordings.hold"  # legal holds, and longer retention
RECORDINGS_SHARE = "recordings.share"  # links that open without signing in
RECORDINGS_EXPORT = "recordings.export"  # many at once, as a ZIP
SPIES_READ = "spies.read"
SPIES_LISTEN = "spies.listen"
SPIES_WHISPER = "spies.whisper"
SPIES_BARGE = "spies.barge"
CONFERENCES_READ = "conferences.read"
CONFERENCES_CONTROL = "conferences.control"  # open, end, members, mute, hold
CAMPAIGNS_READ = "campaigns.read"
CAMPAIGNS_CONTROL = "campaigns.control"  # lists, start, pause, stop; the do-not-call list
EVENTS_READ = "events.read"
RULES_READ = "rules.read"
RULES_WRITE = "rules.write"
METRICS_READ = "metrics.read"
SYSTEM_READ = "system.read"
SYSTEM_WRITE = "system.write"
AUDIT_READ = "audit.read"

PERMISSIONS: Mapping[str, str] = {
    CALLS_READ: "see calls",
    CALLS_DIAL: "set up calls and call-backs: an agent on its own phone alone",
    RECORDINGS_READ: "see a recording's metadata, manifest and waveform",
    RECORDINGS_HEAR: "hear a recording",
    RECORDINGS_CONTROL: "start, pause, resume, stop and discard a recording",
    RECORDINGS_ANNOTATE: "write tags, notes and bookmarks on a recording",
    RECORDINGS_HOLD: "put a recording under legal hold, release it, and keep it longer",
    RECORDINGS_SHARE: "make links that open a recording without signing in",
    RECORDINGS_EXPORT: "export recordings with their manifests",
    SPIES_READ: "see the spies on calls, and the spans that they heard",
    SPIES_LISTEN: "listen to a live call, heard by nobody",
    SPIES_WHISPER: "talk to the agent of a live call alone",
    SPIES_BARGE: "talk to everybody on a live call",
    CONFERENCES_READ: "see conferences and their members",
    CONFERENCES_CONTROL: "open, lock and end conferences; call, mute, hold and remove members",
    CAMPAIGNS_READ: "see campaigns, their results, and the numbers that may not be called",
    CAMPAIGNS_CONTROL: "make, start, pause and stop campaigns; change the do-not-call list",
    EVENTS_READ: "follow the events of all things that the token may see",
    RULES_READ: "see the rules and their versions, and try drafts on past calls",
    RULES_WRITE: "add, change and delete rules",
    METRICS_READ: "read the metrics",
    SYSTEM_READ: "see the state of the service, and its users, tokens and webhooks",
    SYSTEM_WRITE: "add and remove users, tokens and webhooks, and sign people out",
    AUDIT_READ: "see the audit trail, and the hearings of a recording",
}

# The permission that each mode of a spy needs.
MODES: Mapping[Mode, str] = {
    "listen": SPIES_LISTEN,
    "whisper": SPIES_WHISPER,
    "barge": SPIES_BARGE,
}
# The permissions that each action on many recordings needs.
BULK_ACTIONS: Mapping[BulkAction, frozenset[str]] = {
    "tag": frozenset({RECORDINGS_ANNOTATE}),
    "hold": frozenset({RECORDINGS_HOLD}),
    "export": frozenset({RECORDINGS_EXPORT, RECORDINGS_HEAR}),
}
# The permission that each kind of event needs.
EVENTS: Mapping[str, str] = {
    "call": CALLS_READ,
    "recording": RECORDINGS_READ,
    "spy": SPIES_READ,
    "conference": CONFERENCES_READ,
    "campaign": CAMPAIGNS_READ,
    "callback": CALLS_DIAL,
    "rule": RULES_READ,
}

# The scopes of every token of a dialplan.
DIALPLAN_SCOPES = (CALLS_DIAL, CONFERENCES_CONTROL, RECORDINGS_CONTROL)

_SEES_AND_HEARS = frozenset({CALLS_READ, RECORDINGS_READ, RECORDINGS_HEAR})

ROLES: Mapping[str, frozenset[str]] = {
    "admin": frozenset(PERMISSIONS),
    "compliance": _SEES_AND_HEARS
    | {RECORDINGS_ANNOTATE, RECORDINGS_HOLD, RECORDINGS_SHARE, RECORDINGS_EXPORT}
    | {SPIES_READ, CONFERENCES_READ, CAMPAIGNS_READ, EVENTS_READ, RULES_READ, AUDIT_READ},
    "supervisor": _SEES_AND_HEARS
    | {RECORDINGS_CONTROL, RECORDINGS_ANNOTATE, SPIES_READ, EVENTS_READ, CALLS_DIAL}
    | {CONFERENCES_READ, CONFERENCES_CONTROL, CAMPAIGNS_READ, CAMPAIGNS_CONTROL}
    | frozenset(MODES.values()),
    "agent": _SEES_AND_HEARS | {EVENTS_READ, CALLS_DIAL},
}


def permissions_of(token: TokenRecord) -> frozenset[str]:
    """Return the permissions of a token; an unknown scope adds none."""
    if token.role == "service":
        granted = frozenset(token.scopes) & frozenset(PERMISSIONS)
    else:
        granted = ROLES.get(token.role, frozenset())
    return granted - frozenset(token.without)


def modes_of(permissions: Collection[str]) -> tuple[Mode, ...]:
    """Return the modes of a spy that these permissions allow."""
    return tuple(mode for mode, needed in MODES.items() if needed in permissions)
