"""The page of the live calls."""

from datetime import UTC, datetime, timedelta

from flask import Response
from flask_babel import gettext as _

from api.auth import principal
from api.pages.page import Pages, show
from api.pages.words import causes_of_attempts
from api.services import services
from storage.catalogue import callbacks, calls
from storage.catalogue.agents import find_display_names, list_teams
from storage.permissions import CALLS_DIAL, CALLS_READ

pages = Pages()

MISSED_SHOWN = 20
CALLBACKS_SHOWN = 100
MISSED_WITHIN = timedelta(days=1)


@pages.get("/", CALLS_READ)
def show_live() -> Response:
    """Show the page; its module loads the calls from the API."""
    agents = principal().agents
    with services().catalogue.begin() as tx:
        team = principal().token.team if agents is not None else None
        teams = list_teams(tx, team=team)
        names = find_display_names(tx, agents)
        since = datetime.now(UTC) - MISSED_WITHIN
        promised = (
            callbacks.list_live_callbacks(tx, limit=CALLBACKS_SHOWN, agents=agents)
            if CALLS_DIAL in principal().permissions
            else ()
        )
        missed = calls.list_missed(tx, from_at=since, limit=MISSED_SHOWN, agents=agents)
    if agents is not None:
        teams = {name: team for name, team in teams.items() if name in agents}
    words = {
        "unknown": _("unknown"),
        "inbound": _("incoming"),
        "outbound": _("outgoing"),
        "internal": _("internal"),
        "dialled": _("dialled here"),
        "ringing": _("ringing"),
        "waiting": _("waiting"),
        "menu": _("in a menu"),
        "talking": _("talking"),
        "on_hold": _("on hold"),
        "conference": _("conference ({people})"),
        "place": _("number {place} in the queue"),
        "joined": _("with {parties}"),
        "others": _("others"),
        "left": _("with others"),
        "ended": _("ended"),
        "requested": _("recording starts"),
        "recording": _("recording"),
        "paused": _("paused"),
        "listen": _("listening"),
        "whisper": _("whispering"),
        "barge": _("barging in"),
    }
    return show(
        "live.html",
        teams=teams,
        names=names,
        words=words,
        sees_all=agents is None,
        missed=missed,
        callbacks=[(one, services().callbacks.zones_of(one)) for one in promised],
        causes={**causes_of_attempts(), **_causes_of_waiting()},
    )


def _causes_of_waiting() -> dict[str, str]:
    """Return the words for the reasons why a call-back waits, without the causes of its calls."""
    return {
        "outside-hours": _("It waits for the hours of this number."),
        "in-call": _("The customer is calling now."),
    }
