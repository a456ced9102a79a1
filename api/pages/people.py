"""The pages of people: one user, the agents, and one's own account."""

from uuid import UUID

from flask import Response, request
from flask_babel import gettext as _

from api.auth import get_if_visible, principal
from api.operation import SIGNED_IN
from api.pages.page import Pages, show, show_notice, wants_next_part
from api.pages.system import role_names
from api.services import services
from storage.catalogue import agents, users
from storage.errors import BadCursor, NoSuchAgent, NoSuchUser
from storage.permissions import ROLES, SYSTEM_READ

pages = Pages()

SHOWN = 50


@pages.get("/users/<uuid:user_id>", SYSTEM_READ)
def show_user(user_id: UUID) -> Response:
    """Show a user, and the forms that change it."""
    try:
        with services().catalogue.begin() as tx:
            found = users.get_user(tx, user_id)
    except NoSuchUser:
        way = ("/system", _("System"))
        return show_notice(_("There is no such user"), _("It was removed."), 404, way=way)
    return show("user.html", user=found, role_names=role_names(), rights=sorted(ROLES[found.role]))


@pages.get("/agents", SYSTEM_READ)
def show_agents() -> Response:
    """Show the agents, by number; `team` selects those of one team."""
    team, cursor = request.args.get("team", "").strip() or None, request.args.get("cursor") or None
    visible = principal().agents
    with services().catalogue.begin() as tx:
        try:
            found = agents.list_agents(tx, limit=SHOWN, cursor=cursor, team=team, agents=visible)
        except BadCursor:
            found = agents.list_agents(tx, limit=SHOWN, team=team, agents=visible)
    template = "_agents.html" if wants_next_part() else "agents.html"
    return show(template, found=found, team=team or "", origins=_origins())


@pages.get("/agents/<number>", SYSTEM_READ)
def show_agent(number: str) -> Response:
    """Show an agent, and the form that changes it."""
    try:
        found = get_if_visible(agents.get_agent, number)
    except NoSuchAgent:
        way = ("/agents", _("Agents"))
        return show_notice(_("There is no such agent."), _("It was removed."), 404, way=way)
    return show("agent.html", agent=found, origins=_origins())


@pages.get("/account", SIGNED_IN)
def show_account() -> Response:
    """Show the person's own account: rights, sessions, and the form for another password."""
    who = principal()
    user_id = who.token.user_id
    with services().catalogue.begin() as tx:
        found = users.get_user(tx, user_id) if user_id is not None else None
        sessions = users.list_sessions(tx, user_id) if user_id is not None else ()
    return show(
        "account.html",
        who=who,
        user=found,
        sessions=sessions,
        here=who.token.id,
        role_names=role_names(),
    )


def _origins() -> dict[str, str]:
    """Return the words for the sources of a team."""
    return {
        "csv": _("list, from a file"),
        "api": _("list"),
        "pattern": _("pattern of config.toml"),
        "user": _("user of this name"),
        "token": _("token of this name"),
    }
