"""Say which events an owner may see: one pure function for event streams and for webhooks."""

from collections.abc import Collection

from storage.catalogue.rights import Rights
from storage.permissions import EVENTS, EVENTS_READ
from storage.records import REMARKS, EventRecord


def kind_of(event_type: str) -> str:
    """Return the kind of an event.

    Example: `kind_of("call.ended")` is `call`; that of the pattern `call.*` is the same.
    """
    return event_type.partition(".")[0]


def permissions_for(types: Collection[str]) -> frozenset[str]:
    """Return the permissions that events of these types or patterns need; none is every type.

    Example: `permissions_for(["call.*", "recording.stored"])` has `events.read`, `calls.read` and
    `recordings.read`.
    """
    kinds = {kind_of(one) for one in types} or EVENTS.keys()
    return frozenset({EVENTS_READ, *(EVENTS[kind] for kind in kinds)})


def is_own(rights: Rights, event: EventRecord) -> bool:
    """Return whether the event is about a spy, a conference or a campaign of this owner."""
    return event.owner_id is not None and event.owner_id == rights.id


def sees(
    rights: Rights,
    event: EventRecord,
    *,
    calls: Collection[str] = (),
    conferences: Collection[str] = (),
) -> bool:
    """Return whether an owner with these rights may see the event now.

    An owner with a team sees the events of the team's agents and of its own things, of the `calls`
    on which its spies are, and of the `conferences` with agents of the team.

    A change of remarks alone is hidden from those who may not read them.

    Example: without `rules.read` no owner sees `rule.changed`.
    """
    kind = kind_of(event.type)
    needed = EVENTS.get(kind)
    if needed is None or not rights.may(EVENTS_READ, needed):
        return False
    if not rights.reads_remarks and _changes_only_remarks(event):
        return False
    if rights.sees(event.agent) or is_own(rights, event):
        return True
    if kind == "call":
        return event.data["id"] in calls
    return kind == "conference" and event.data["id"] in conferences


def _changes_only_remarks(event: EventRecord) -> bool:
    changed = event.data.get("changed") or ()
    return kind_of(event.type) == "recording" and 0 < len(changed) == len(REMARKS & {*changed})
