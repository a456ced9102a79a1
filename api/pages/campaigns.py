"""The pages of the campaigns: all of them, one of them, those of an agent, the do-not-call list."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, request
from flask_babel import get_locale
from flask_babel import gettext as _

from api.auth import get_if_visible, principal
from api.pages.page import Pages, show, show_notice, wants_next_part
from api.pages.words import causes_of_attempts
from api.services import services
from recorder.errors import NotANumber, NumberRefused
from storage.catalogue import campaigns, do_not_call
from storage.errors import BadCursor, NoSuchCampaign
from storage.permissions import CALLS_DIAL, CAMPAIGNS_READ
from storage.records import CampaignAgentState, CampaignMode, CampaignState, EntryState, Hours

pages = Pages()

SHOWN = 50
NUMBERS_SHOWN = 50
# The parts of a bar of progress: a state of entries, or several, and the class of its colour.
PARTS: Sequence[tuple[str, tuple[EntryState, ...]]] = (
    ("good", ("done",)),
    ("accent", ("reserved", "dialling")),
    ("warn", ("exhausted",)),
    ("alert", ("refused",)),
    ("rest", ("waiting",)),
)


@pages.get("/campaigns", CAMPAIGNS_READ)
def show_campaigns() -> Response:
    """Show the campaigns, the newest first."""
    cursor = request.args.get("cursor") or None
    with services().catalogue.begin() as tx:
        try:
            found = campaigns.list_campaigns(tx, limit=SHOWN, cursor=cursor, **_seen())
        except BadCursor:
            found = campaigns.list_campaigns(tx, limit=SHOWN, **_seen())
        ids = [one.id for one in found.items]
        counts, agents = campaigns.count_entries(tx, ids), campaigns.map_agents(tx, ids)
    return show(
        "campaigns.html",
        found=found,
        bars={id_: _bar_of(states) for id_, states in counts.items()},
        agents=agents,
        hours=services().callbacks.hours,
        **_words(),
    )


@pages.get("/campaigns/<uuid:campaign_id>", CAMPAIGNS_READ)
def show_campaign(campaign_id: UUID) -> Response:
    """Show one campaign: its progress, results, agents and list."""
    try:
        get = partial(campaigns.get_campaign, owner_id=principal().id)
        record = get_if_visible(get, campaign_id)
        with services().catalogue.begin() as tx:
            progress = campaigns.read_progress(tx, campaign_id)
            agents = campaigns.list_agents(tx, campaign_id)
    except NoSuchCampaign:
        text = _("It may belong to another team, or it was deleted.")
        way = ("/campaigns", _("Campaigns"))
        return show_notice(_("There is no such campaign"), text, 404, way=way)
    return show(
        "campaign.html",
        campaign=record,
        progress=progress,
        bar=_bar_of(progress.states),
        most=max((calls for _at, calls, _talks in progress.hours), default=0),
        agents=agents,
        now=datetime.now(UTC),
        weekdays=_weekdays_of(record.hours),
        **_words(),
    )


@pages.get("/my-campaigns", CALLS_DIAL)
def show_own_campaigns() -> Response:
    """Show the running campaigns of which the person is an agent."""
    with services().catalogue.begin() as tx:
        found = campaigns.list_campaigns(tx, limit=SHOWN, agent=principal().name)
        running = [one for one in found.items if one.state in ("running", "paused")]
        own = {one.id: campaigns.get_agent(tx, one.id, principal().name) for one in running}
        entries = {
            id_: campaigns.find_entry(tx, id_, agent.entry_id)
            for id_, agent in own.items()
            if agent.entry_id is not None
        }
    return show("my_campaigns.html", campaigns=running, own=own, entries=entries, **_words())


@pages.get("/do-not-call", CAMPAIGNS_READ)
def show_do_not_call() -> Response:
    """Show the numbers that may not be called; `number` looks one up."""
    wanted, cursor = request.args.get("number", "").strip(), request.args.get("cursor") or None
    fault = ""
    number: str | None = None
    try:
        number = services().callbacks.parse(wanted) if wanted else None
    except (NotANumber, NumberRefused):
        fault = _("This is no telephone number.")
    with services().catalogue.begin() as tx:
        try:
            found = do_not_call.list_numbers(tx, number=number, limit=NUMBERS_SHOWN, cursor=cursor)
        except BadCursor:
            found = do_not_call.list_numbers(tx, number=number, limit=NUMBERS_SHOWN)
    template = "_do_not_call.html" if wants_next_part() else "do_not_call.html"
    return show(template, found=found, wanted=wanted, fault=fault)


def _bar_of(counts: Mapping[EntryState, int]) -> Sequence[tuple[str, int, float, float]]:
    """Return the parts of a bar: the class, the number of entries, the start and the width in %.

    Example: of 4 entries one is done: `("good", 1, 0.0, 25.0)` comes first.
    """
    total = sum(counts.values())
    bar, start = [], 0.0
    for tone, states in PARTS:
        count = sum(counts.get(state, 0) for state in states)
        width = 100 * count / total if total else 0.0
        bar.append((tone, count, round(start, 3), round(width, 3)))
        start += width
    return bar


def _weekdays_of(hours: Hours) -> str:
    """Return the short names of the weekdays in the language of the page: "Mon, Tue"."""
    names = get_locale().days["format"]["abbreviated"]
    return ", ".join(names[day - 1] for day in hours.weekdays)


def _seen() -> dict[str, Any]:
    return {"agents": principal().agents, "owner_id": principal().id}


def _words() -> dict[str, Any]:
    """Return the words for the codes of campaigns."""
    states: dict[CampaignState, tuple[str, str]] = {
        "draft": (_("not started"), ""),
        "running": (_("running"), "good"),
        "paused": (_("paused"), "warn"),
        "stopped": (_("stopped"), "alert"),
        "done": (_("finished"), "accent"),
    }
    modes: dict[CampaignMode, str] = {
        "preview": _("preview: the agent sees a number and starts the call"),
        "progressive": _("progressive: a ready agent's phone rings, then the number"),
    }
    agent_states: dict[CampaignAgentState, tuple[str, str]] = {
        "away": (_("away"), ""),
        "ready": (_("ready"), "good"),
        "reserved": (_("has a number"), "accent"),
    }
    parts = {
        "good": _("reached"),
        "accent": _("now with an agent"),
        "warn": _("not reached, no attempts left"),
        "alert": _("refused"),
        "rest": _("waiting"),
    }
    return {
        "states": states,
        "mode_names": modes,
        "agent_states": agent_states,
        "parts": parts,
        "causes": _causes(),
    }


def _causes() -> Mapping[str, str]:
    """Return the words for the results of entries, and for the pauses of campaigns."""
    return {
        **causes_of_attempts(),
        "not-permitted": _("The person who started it may not call any more."),
        "ended": _("They talked."),
        "not-a-number": _("It is no telephone number."),
        "number-refused": _("This service may not call this number."),
        "do-not-call": _("It is on the do-not-call list."),
        "duplicate": _("The list has it twice."),
        "line-invalid": _("The line cannot be read."),
        "no-hours": _("No hour suits all time zones of this number."),
        "cannot-dial": _("The PBX has no dial_context any more."),
        "list-incomplete": _("The list was not read to its end: send it again."),
        "skipped": _("An agent skipped it."),
    }
