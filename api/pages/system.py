"""The page of the service: its parts, missing recordings, failed jobs, users and tokens."""

from flask import Response, request
from flask_babel import gettext as _
from sqlalchemy import Connection

from api.health import check_parts
from api.pages.page import Pages, show, wants_next_part
from api.services import services
from storage.catalogue import (
    decisions,
    failed_jobs,
    figures,
    pbxs,
    recordings,
    tokens,
    users,
    webhooks,
)
from storage.catalogue.recordings import RecordingFilter
from storage.errors import BadCursor
from storage.permissions import SYSTEM_READ
from storage.records import Assurance, CallRecord, RecordingRecord, Slice

pages = Pages()

SHOWN = 20

_Missing = Slice[tuple[CallRecord, Assurance, RecordingRecord | None]]


@pages.get("/system", SYSTEM_READ)
def show_system() -> Response:
    """Show the whole page; scrolling loads more missing recordings."""
    cursor = request.args.get("cursor") or None
    with services().catalogue.begin() as tx:
        missing = _missing(tx, cursor)
        if wants_next_part():
            return show("_missing.html", missing=missing)
        failed = recordings.list_recordings(tx, RecordingFilter(state="failed"), limit=SHOWN)
        given_up = failed_jobs.list_failed_jobs(tx, limit=SHOWN)
        everybody = users.list_users(tx).items
        known_tokens = tokens.list_tokens(tx).items
        known_webhooks = webhooks.list_webhooks(tx).items
        known = {one.name: one for one in pbxs.list_pbxs(tx)}
        kept = figures.read_figures(tx)
    tasks = {
        "finish": _("fetch, encode and store a recording"),
        "clear": _("delete a discarded recording's files on the PBX"),
        "manifest": _("rewrite a recording's manifest"),
        "bulk": _("work on many recordings"),
    }
    return show(
        "system.html",
        missing=missing,
        failed=failed,
        jobs=given_up,
        tasks=tasks,
        users=everybody,
        passwords=services().settings.passwords,
        tokens=known_tokens,
        webhooks=known_webhooks,
        pbxs=known,
        kept=kept,
        checks=check_parts(services().catalogue, services().store_probe, services().settings.pbxs),
        names={"database": _("Catalogue (PostgreSQL)"), "objects": _("Object store")},
        states=_states(),
        role_names=role_names(),
    )


def _missing(tx: Connection, cursor: str | None) -> _Missing:
    """Return calls whose recording is missing or too short, each with its last recording."""
    try:
        found = decisions.list_missing(tx, limit=SHOWN, cursor=cursor)
    except BadCursor:
        found = decisions.list_missing(tx, limit=SHOWN)
    ids = [call.id for call, _assurance in found.items]
    last = {one.call_id: one for one in recordings.list_recordings_of_calls(tx, ids)}
    items = tuple((call, missing, last.get(call.id)) for call, missing in found.items)
    return Slice(items, found.next_cursor)


def _states() -> dict[str, tuple[str, str]]:
    """Return the words for the states of a part, and their meaning; others show as they are."""
    return {
        "connected": (_("works"), ""),
        "unavailable": (_("away"), _("It does not answer.")),
        "unreachable": (_("away"), _("Asterisk does not answer: its calls are not followed.")),
        "unwatched": (_("unwatched"), _("No process follows its calls.")),
        "refused": (
            _("refused"),
            _("It refuses us: rights, bucket or keys are wrong."),
        ),
        "unknown": (_("unknown"), _("Unknown while the catalogue is away.")),
    }


def role_names() -> dict[str, str]:
    """Return the words for the roles, the one with the least rights first."""
    return {
        "agent": _("agent"),
        "supervisor": _("supervisor"),
        "compliance": _("compliance officer"),
        "admin": _("administrator"),
        "service": _("program"),
    }
