"""Campaigns: lists of numbers that agents dial, one after another."""

import csv as csv_format
import errno
import io
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from uuid import UUID

from flask import Response
from pydantic_core import to_json

from api.auth import (
    auditing_refusals,
    get_if_visible,
    principal,
    refuse,
)
from api.fields.base import ListQuery, Nothing, list_fields
from api.fields.calls import Call
from api.fields.campaigns import (
    AgentChange,
    AgentOfCampaign,
    Campaign,
    CampaignList,
    CampaignProgress,
    CampaignQuery,
    ChangedCampaign,
    Entry,
    EntryList,
    EntryQuery,
    ListResult,
    NewCampaign,
    Preview,
    agent_fields,
    campaign_fields,
    entry_fields,
    preview_fields,
    progress_fields,
    report_fields,
)
from api.links import base_url
from api.operation import CSV, Operations, Reply, answer, json
from api.routes.callbacks import read_hours
from api.routes.calls import answer_dialled
from api.services import services
from recorder.dialling.campaigns import CampaignTerms
from recorder.errors import (
    BadDestination,
    CampaignNotReady,
    CannotDial,
    ListInvalid,
    NotANumber,
    NothingReserved,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
)
from storage.catalogue import campaigns
from storage.catalogue.campaigns import Result
from storage.catalogue.engine import Catalogue
from storage.errors import (
    BadCursor,
    CatalogueUnavailable,
    LockTimeout,
    NoSuchCampaign,
    NoSuchCampaignAgent,
)
from storage.permissions import CALLS_DIAL, CAMPAIGNS_CONTROL, CAMPAIGNS_READ
from storage.records import CampaignRecord

operations = Operations("/api/v1", tag="campaigns")

MOST_BYTES = 20 * 1024 * 1024
READ_AT_ONCE = 1_000
# The columns of the results: those of an entry, and those of its last call.
OF_ENTRY = ("given", "number", "name", "consent", "state", "cause", "attempts")
OF_CALL = ("call_id", "dialled_at", "answered_at", "talked_at", "ended_at", "allowed_by")
RESULTS = ("line", *OF_ENTRY, "next_at", "agent", *OF_CALL)
TIMES = ("requested_at", "answered_at", "talked_at", "ended_at")
# A spreadsheet takes a cell with such a beginning for a formula.
FORMULA = re.compile(r"[=+\-@\t\r\n|%]")
NUMBER = re.compile(r"\+[0-9]{1,15}")
CONTROL = (NoSuchCampaign, CampaignNotReady)
PREVIEW = (*CONTROL, NoSuchCampaignAgent, LockTimeout)


@operations.get(
    "/campaigns", CAMPAIGNS_READ, json(CampaignList), query=CampaignQuery, errors=(BadCursor,)
)
def list_campaigns(query: CampaignQuery) -> Response:
    """List campaigns, newest first: yours, and those whose agents you may all see."""
    who = principal()
    return _list(query, state=query.state, agents=who.agents, owner_id=who.id)


@operations.get(
    "/campaigns/mine", CALLS_DIAL, json(CampaignList), query=CampaignQuery, errors=(BadCursor,)
)
def list_own_campaigns(query: CampaignQuery) -> Response:
    """List the campaigns of which you are an agent, newest first."""
    return _list(query, state=query.state, agent=principal().name)


@operations.post(
    "/campaigns",
    CAMPAIGNS_CONTROL,
    {201: Reply("The new campaign, a draft.", Campaign, headers={"Location": "the campaign"})},
    body=NewCampaign,
    errors=(CannotDial, BadDestination),
)
def create_campaign(body: NewCampaign) -> Response:
    """Make a campaign. Send its list next, then start it.

    It calls numbers within the hours of all their time zones, none that is on the do-not-call list,
    and each as often as its plan says. An agent is reserved before a number is dialled, and the
    agent's phone rings first, so nobody who answers waits for an agent.
    """
    _require_phones(body.agents)
    terms = CampaignTerms(
        name=body.name,
        pbx=body.pbx,
        mode=body.mode,
        hours=read_hours(body.hours),
        retry_after_s=body.retry_after_s,
        phones=body.agents,
        queue=body.queue,
        record=body.record,
        announce=body.announce,
        wrap_up_s=body.wrap_up_s,
    )
    with auditing_refusals("campaign.create", body.name):
        made = services().campaigns.create(terms, by=principal().actor, owner_id=principal().id)
    return _answer(made, 201, Location=f"{base_url()}/api/v1/campaigns/{made.id}")


@operations.get(
    "/campaigns/<uuid:campaign_id>", CAMPAIGNS_READ, json(Campaign), errors=(NoSuchCampaign,)
)
def get_campaign(campaign_id: UUID) -> Response:
    """Get a campaign and its agents."""
    return _answer(_get_visible(campaign_id))


@operations.patch(
    "/campaigns/<uuid:campaign_id>",
    CAMPAIGNS_CONTROL,
    json(Campaign, "The campaign, changed."),
    body=ChangedCampaign,
    errors=(*CONTROL, BadDestination),
)
def change_campaign(campaign_id: UUID, body: ChangedCampaign) -> Response:
    """Change a campaign that has not ended; its next calls follow the change."""
    record = _get_visible(campaign_id)
    changes = {
        "name": body.name,
        "phones": body.agents,
        "hours": read_hours(body.hours),
        "retry_after_s": body.retry_after_s,
        "wrap_up_s": body.wrap_up_s,
    }
    _require_phones(body.agents or ())
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        return _answer(record)
    with auditing_refusals("campaign.change", campaign_id):
        return _answer(services().campaigns.change(campaign_id, given, by=principal().actor))


@operations.delete(
    "/campaigns/<uuid:campaign_id>",
    CAMPAIGNS_CONTROL,
    {204: Reply("The campaign and its list are deleted.")},
    errors=(*CONTROL, LockTimeout),
)
def delete_campaign(campaign_id: UUID) -> Response:
    """Delete a campaign that does not run, with its list and its results. Its calls stay."""
    _get_visible(campaign_id)
    with auditing_refusals("campaign.delete", campaign_id):
        services().campaigns.delete(campaign_id, by=principal().actor)
    return Response(status=204)


@operations.put(
    "/campaigns/<uuid:campaign_id>/entries",
    CAMPAIGNS_CONTROL,
    json(ListResult),
    csv_bytes=MOST_BYTES,
    errors=(*CONTROL, ListInvalid, CannotDial, LockTimeout),
)
def replace_entries(campaign_id: UUID, csv: bytes) -> Response:
    """Send the list of a draft, as CSV in UTF-8; it replaces the present list.

    The first line names the columns, divided by commas or semicolons: `number`, and if you like
    `name`, `consent` and any other. Each further line is one entry; a list has at most 20 MB and
    1,000,000 lines. A line that cannot be used becomes a refused entry, the answer says why, and
    all other lines are kept. A number that comes twice is refused the second time.
    """
    _get_visible(campaign_id)
    with auditing_refusals("campaign.list", campaign_id):
        report = services().campaigns.replace_list(campaign_id, csv, by=principal().actor)
    return answer(report_fields(report))


@operations.get(
    "/campaigns/<uuid:campaign_id>/entries",
    CAMPAIGNS_READ,
    json(EntryList),
    query=EntryQuery,
    errors=(NoSuchCampaign, BadCursor),
)
def list_entries(campaign_id: UUID, query: EntryQuery) -> Response:
    """List the entries of a campaign in the order of the file, or those in one state."""
    _get_visible(campaign_id)
    with services().catalogue.begin() as tx:
        page = campaigns.list_entries(tx, campaign_id, **query.model_dump())
    return answer(list_fields(page, entry_fields))


@operations.post(
    "/campaigns/<uuid:campaign_id>/start",
    CAMPAIGNS_CONTROL,
    json(Campaign, "The campaign, running."),
    body=Nothing,
    errors=CONTROL,
)
def start_campaign(campaign_id: UUID) -> Response:
    """Start a campaign; harmless to repeat. It runs by your right, as long as you have it."""
    return _start(campaign_id, "campaign.start")


@operations.post(
    "/campaigns/<uuid:campaign_id>/resume",
    CAMPAIGNS_CONTROL,
    json(Campaign, "The campaign, running again."),
    body=Nothing,
    errors=CONTROL,
)
def resume_campaign(campaign_id: UUID) -> Response:
    """Resume a paused campaign; harmless to repeat. It runs by your right from now on."""
    return _start(campaign_id, "campaign.resume")


@operations.post(
    "/campaigns/<uuid:campaign_id>/pause",
    CAMPAIGNS_CONTROL,
    json(Campaign, "The campaign, paused."),
    body=Nothing,
    errors=CONTROL,
)
def pause_campaign(campaign_id: UUID) -> Response:
    """Dial no further number; calls that ring or talk go on. Harmless to repeat."""
    _get_visible(campaign_id)
    with auditing_refusals("campaign.pause", campaign_id):
        return _answer(services().campaigns.pause(campaign_id, by=principal().actor))


@operations.post(
    "/campaigns/<uuid:campaign_id>/stop",
    CAMPAIGNS_CONTROL,
    json(Campaign, "The campaign, at its end."),
    body=Nothing,
    errors=CONTROL,
)
def stop_campaign(campaign_id: UUID) -> Response:
    """End a campaign at once: calls without a talk are hung up, talks go on.

    Harmless to repeat. A stopped campaign never runs again.
    """
    _get_visible(campaign_id)
    with auditing_refusals("campaign.stop", campaign_id):
        return _answer(services().campaigns.stop(campaign_id, by=principal().actor))


@operations.get(
    "/campaigns/<uuid:campaign_id>/progress",
    CAMPAIGNS_READ,
    json(CampaignProgress),
    errors=(NoSuchCampaign,),
)
def get_campaign_progress(campaign_id: UUID) -> Response:
    """Count the entries of a campaign by state and cause, and its calls by hour, for charts."""
    _get_visible(campaign_id)
    with services().catalogue.begin() as tx:
        return answer(progress_fields(campaigns.read_progress(tx, campaign_id)))


@operations.get(
    "/campaigns/<uuid:campaign_id>/results.csv",
    CAMPAIGNS_READ,
    {200: Reply("The entries with their last calls.", media_types=(CSV,))},
    errors=(NoSuchCampaign,),
)
def get_campaign_results(campaign_id: UUID) -> Response:
    """Get every entry with its last call as CSV, and under which rules that call was allowed.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    record = _get_visible(campaign_id)
    owner_id, catalogue, present = principal().token.id, services().catalogue, services().rights

    def is_permitted() -> bool:
        rights = present.find(owner_id)
        if rights is None or not rights.may(CAMPAIGNS_READ):
            return False
        with catalogue.begin() as tx:
            campaigns.get_campaign(tx, campaign_id, agents=rights.agents, owner_id=rights.id)
        return True

    with services().catalogue.begin() as tx:
        first = campaigns.list_results(tx, campaign_id, after=0, limit=1)
    columns = sorted(first[0].entry.data) if first else []
    answered = Response(_iter_results(catalogue, record, columns, is_permitted), mimetype=CSV)
    answered.headers["Content-Disposition"] = f'attachment; filename="campaign-{record.id}.csv"'
    return answered


@operations.put(
    "/campaigns/<uuid:campaign_id>/agents/<agent>",
    CALLS_DIAL,
    json(AgentOfCampaign, "The agent, ready, reserved or away."),
    body=AgentChange,
    errors=PREVIEW,
)
def set_campaign_agent(campaign_id: UUID, agent: str, body: AgentChange) -> Response:
    """Make an agent ready or away. An agent does so for itself, a supervisor for its team."""
    _require_agents([agent])
    found = services().campaigns.set_ready(
        campaign_id, agent, ready=body.ready, by=principal().actor
    )
    return answer(agent_fields(found))


@operations.post(
    "/campaigns/<uuid:campaign_id>/agents/<agent>/next",
    CALLS_DIAL,
    json(Preview),
    body=Nothing,
    errors=(*PREVIEW, PhoneBusy),
)
def show_next_entry(campaign_id: UUID, agent: str) -> Response:
    """Reserve the next number of a preview campaign for an agent, and show it.

    A repeat shows the same number, until it is called or skipped, for 15 minutes at most.
    """
    _require_agents([agent])
    shown = services().campaigns.show_next(campaign_id, agent, by=principal().actor)
    return answer(preview_fields(shown))


@operations.post(
    "/campaigns/<uuid:campaign_id>/agents/<agent>/go",
    CALLS_DIAL,
    {201: Reply("The agent's phone rings.", Call, headers={"Location": "the call"})},
    body=Nothing,
    errors=(
        *PREVIEW,
        NothingReserved,
        NotANumber,
        NumberRefused,
        PhoneBusy,
        PhoneNotPermitted,
        BadDestination,
        CannotDial,
        PbxUnavailable,
    ),
)
def call_shown_entry(campaign_id: UUID, agent: str) -> Response:
    """Call the number that is shown to the agent, if its hours and the lists still allow it.

    A second request gets `nothing-reserved`, and nothing rings again.
    """
    _require_agents([agent])
    with auditing_refusals("campaign.go", campaign_id, agent=agent):
        made = services().campaigns.go(campaign_id, agent, by=principal().actor)
    return answer_dialled(made.call_id)


@operations.post(
    "/campaigns/<uuid:campaign_id>/agents/<agent>/skip",
    CALLS_DIAL,
    json(Entry, "The entry, which waits again."),
    body=Nothing,
    errors=(*PREVIEW, NothingReserved),
)
def skip_shown_entry(campaign_id: UUID, agent: str) -> Response:
    """Put the shown number back for a while; that uses up no attempt."""
    _require_agents([agent])
    return answer(entry_fields(services().campaigns.skip(campaign_id, agent, by=principal().actor)))


def _list(query: ListQuery, **wanted: object) -> Response:
    with services().catalogue.begin() as tx:
        page = campaigns.list_campaigns(
            tx,
            limit=query.limit,
            cursor=query.cursor,
            **wanted,  # type: ignore[arg-type]
        )
        agents = campaigns.map_agents(tx, [one.id for one in page.items])
    return answer(list_fields(page, lambda one: campaign_fields(one, agents[one.id])))


def _get_visible(campaign_id: UUID) -> CampaignRecord:
    """Return a campaign that the caller may see. Raises NoSuchCampaign."""
    get = partial(campaigns.get_campaign, owner_id=principal().id)
    return get_if_visible(get, campaign_id)


def _answer(record: CampaignRecord, status: int = 200, **headers: str) -> Response:
    with services().catalogue.begin() as tx:
        agents = campaigns.list_agents(tx, record.id)
    return answer(campaign_fields(record, agents), status, **headers)


def _start(campaign_id: UUID, action: str) -> Response:
    record = _get_visible(campaign_id)
    _require_agents(record.agents)
    with auditing_refusals(action, campaign_id):
        return _answer(
            services().campaigns.start(campaign_id, by=principal().actor, owner_id=principal().id)
        )


def _require_phones(phones: Iterable[str]) -> None:
    """Refuse phones such as `PJSIP/2001` of agents whom the caller may not see."""
    _require_agents(phone.partition("/")[2] for phone in phones)


def _require_agents(named: Iterable[str]) -> None:
    """Refuse to act for agents whom the caller may not see."""
    agents = principal().agents
    if agents is not None and not agents.issuperset(named):
        refuse("calls of other agents")


def _iter_results(
    catalogue: Catalogue,
    record: CampaignRecord,
    columns: list[str],
    is_permitted: Callable[[], bool],
) -> Iterator[str]:
    """Iterate over the lines of the results; the caller's right is asked again for each part.

    The connection closes before the end once the right is gone, or the catalogue is away.
    """
    yield _line([*RESULTS, *columns])
    after = 0
    while True:
        try:
            if not is_permitted():
                break
            with catalogue.begin() as tx:
                found = campaigns.list_results(tx, record.id, after=after, limit=READ_AT_ONCE)
        except (NoSuchCampaign, CatalogueUnavailable):
            break
        if not found:
            return
        after = found[-1].entry.place
        yield "".join(_line(_cells(one, columns)) for one in found)
    raise ConnectionResetError(errno.ECONNRESET, "the rest of the results was not sent")


def _cells(result: Result, columns: list[str]) -> list[object]:
    """Return the cells of one entry and its last call."""
    entry, call = result.entry, result.dial
    own = [entry.place, *(getattr(entry, name) for name in OF_ENTRY)]
    dialled: list[object] = [None] * len(OF_CALL)
    if call is not None:
        times = [_show_time(getattr(call, name)) for name in TIMES]
        dialled = [call.call_id, *times, to_json(call.allowed_by).decode()]
    data = [entry.data.get(name) for name in columns]
    return [*own, _show_time(entry.next_at), entry.agent, *dialled, *data]


def _show_time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _line(cells: list[object]) -> str:
    """Return one line of CSV without formulas."""
    out = io.StringIO()
    csv_format.writer(out).writerow([_guard(cell) for cell in cells])
    return out.getvalue()


def _guard(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would compute."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
