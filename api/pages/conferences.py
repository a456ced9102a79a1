"""The page of the conferences."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Response
from flask_babel import gettext as _

from api.auth import principal
from api.pages.page import Pages, show
from api.services import services
from storage.catalogue import conferences
from storage.permissions import CONFERENCES_READ
from storage.records import Layout, MemberRecord, MemberRole, MemberState

pages = Pages()

SHOWN = 50


@pages.get("/conferences", CONFERENCES_READ)
def show_conferences() -> Response:
    """Show the open conferences with their members; its module reads each again when it changes."""
    with services().catalogue.begin() as tx:
        found = conferences.list_conferences(
            tx, states=["open"], limit=SHOWN, agents=principal().agents, owner_id=principal().id
        )
        members: dict[UUID, list[MemberRecord]] = {one.id: [] for one in found.items}
        for member in conferences.list_members(tx, list(members), live_only=True):
            members[member.conference_id].append(member)
    states: dict[MemberState, tuple[str, str]] = {
        "requested": (_("is being called"), ""),
        "ringing": (_("ringing"), "accent"),
        "waiting": (_("waits for the owner"), "warn"),
        "in": (_("in the conference"), "good"),
    }
    roles: dict[MemberRole, str] = {
        "member": _("member"),
        "owner": _("owner"),
        "guest": _("guest"),
    }
    return show(
        "conferences.html",
        conferences=[(one, members[one.id]) for one in found.items],
        has_more=found.next_cursor is not None,
        states=states,
        roles=roles,
        layouts=_layouts(),
        now=datetime.now(UTC),
    )


def _layouts() -> dict[Layout, str]:
    """Return the words for the layouts of a recording."""
    return {
        "dual": _("two sides"),
        "mono": _("one mixed track"),
        "tracks": _("one track for each person"),
    }
