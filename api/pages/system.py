"""How the service is: its parts, what is missing, what was given up, and who may use it."""

from flask import Response
from flask_babel import gettext as _

from api.health import check_parts
from api.pages.page import Pages, show
from api.parts import parts
from api.permissions import ROLES, SYSTEM_READ
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

pages = Pages()

SHOWN = 20


@pages.get("/system", SYSTEM_READ)
def show_system() -> Response:
    """All of it on one page."""
    with parts().catalogue.begin() as tx:
        missing = decisions.list_missing(tx, limit=SHOWN)
        failed = recordings.list_recordings(tx, RecordingFilter(state="failed"), limit=SHOWN)
        given_up = failed_jobs.list_failed_jobs(tx, limit=SHOWN)
        everybody = users.list_users(tx).items
        known_tokens = tokens.list_tokens(tx).items
        known_webhooks = webhooks.list_webhooks(tx).items
        known = {one.name: one for one in pbxs.list_pbxs(tx)}
        kept = figures.read_figures(tx)
    return show(
        "system.html",
        missing=missing.items,
        failed=failed.items,
        jobs=given_up.items,
        tasks=_tasks(),
        users=everybody,
        passwords=parts().settings.passwords,
        tokens=known_tokens,
        webhooks=known_webhooks,
        roles=(*ROLES, "service"),
        pbxs=known,
        kept=kept,
        checks=check_parts(parts().catalogue, parts().store_probe, parts().settings.pbxs),
        names={"database": _("Catalogue (PostgreSQL)"), "objects": _("Object store")},
        states=_states(),
        role_names=role_names(),
    )


def _tasks() -> dict[str, str]:
    """What each kind of job does."""
    return {
        "finish": _("fetch, encode and store a recording"),
        "clear": _("delete a discarded recording's files on the PBX"),
        "manifest": _("write a recording's manifest anew"),
        "bulk": _("work on many recordings"),
    }


def _states() -> dict[str, tuple[str, str]]:
    """What a part can be, and what that means; of any other its own words are told."""
    return {
        "connected": (_("works"), ""),
        "unavailable": (_("away"), _("It does not answer.")),
        "unreachable": (_("away"), _("Asterisk does not answer: its calls are not followed.")),
        "unwatched": (_("unwatched"), _("No process follows its calls.")),
        "refused": (
            _("refused"),
            _("It answers, and refuses us: rights, bucket or keys are wrong."),
        ),
        "unknown": (_("unknown"), _("Not known while the catalogue is away.")),
    }


def role_names() -> dict[str, str]:
    """The roles, as people call them."""
    return {
        "admin": _("administrator"),
        "compliance": _("compliance officer"),
        "supervisor": _("supervisor"),
        "agent": _("agent"),
        "service": _("program"),
    }
