"""The calls as they are."""

from flask import Response
from flask_babel import gettext as _

from api.auth import principal
from api.pages.page import Pages, show
from api.permissions import CALLS_READ
from api.services import services
from storage.catalogue import tokens

pages = Pages()


@pages.get("/", CALLS_READ)
def show_live() -> Response:
    """The live calls; the page's own module asks the API for them."""
    agents = principal().agents
    with services().catalogue.begin() as tx:
        team = principal().token.team if agents is not None else None
        teams = tokens.list_teams(tx, team=team)
    if agents is not None:
        teams = {name: team for name, team in teams.items() if name in agents}
    return show("live.html", teams=teams, words=_words())


def _words() -> dict[str, str]:
    """What the page's module says."""
    return {
        "unknown": _("unknown"),
        "inbound": _("from outside"),
        "outbound": _("to outside"),
        "internal": _("inside"),
        "ringing": _("rings"),
        "up": _("talking"),
        "left": _("with others"),
        "ended": _("ended"),
        "requested": _("begins to record"),
        "recording": _("records"),
        "paused": _("paused"),
        "listen": _("listens"),
        "whisper": _("whispers"),
        "barge": _("barges in"),
    }
