"""Campaigns: each ready agent calls one number of a list after another.

A *step* brings a campaign forward. It counts the calls that have ended, releases what a dead
process had reserved, plans, reserves, and dials. It is safe to repeat, and one step of a campaign
runs at a time, under a lock. So a step may come at any time: when a call has ended, when an agent
becomes ready, and every few seconds from a sweep.

    waiting ──plan──▶ reserved ──dial──▶ dialling ──count──▶ done · waiting · exhausted

The reservation is written before the call, and the call before its ring. A process that dies in
between leaves rows from which the next step continues: an entry without a call is released, one
with a call is followed. The result of each call counts once (`last_dial_id`).
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from recorder.ari.pbxs import Pbxs
from recorder.dialling.campaign_list import Line, read_list
from recorder.dialling.campaign_plan import BUSY_RESTS_S
from recorder.dialling.dialler import Dialler, DialRequest
from recorder.dialling.hours import choose_zones
from recorder.dialling.numbers import zones_of
from recorder.dialling.phones import parse_phone
from recorder.dialling.queue_members import read_members
from recorder.dialling.reservations import (
    Reserved,
    find_entry_of,
    get_shown,
    list_free,
    list_unanswered,
    plan_entry,
    plan_next,
    refuse,
    release,
    reserve,
    settle_entry,
)
from recorder.errors import (
    BadDestination,
    CampaignNotReady,
    CannotDial,
    NotANumber,
    NumberRefused,
    PbxUnavailable,
    PhoneBusy,
    PhoneNotPermitted,
)
from storage.actors import WORK
from storage.catalogue import audit, campaigns
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights, find_actor, find_rights
from storage.errors import NoSuchCampaign
from storage.permissions import CALLS_DIAL, CAMPAIGNS_CONTROL
from storage.records import (
    Actor,
    CampaignAgent,
    CampaignAgentState,
    CampaignEntry,
    CampaignMode,
    CampaignRecord,
    CampaignState,
    DialRecord,
    Hours,
)

log = structlog.get_logger()

LOCK_WITHIN_S = 10.0
# A step plans again after refusals, so often at most; the sweep continues.
PLANS_AT_ONCE = 50
# A skipped number is shown again after this time, if the campaign has no plan of attempts.
SKIPPED_FOR_S = 900
WRITTEN_AT_ONCE = 1_000
QUEUE_EVERY_S = 4.0
MOST_FAULTS = 1_000
DEFAULT_HOURS = Hours()
LIST_INCOMPLETE = "list-incomplete"


@dataclass(frozen=True, slots=True)
class CampaignTerms:
    """The terms of a new campaign; `phones` are those of its agents, such as `PJSIP/2001`.

    Without hours or a plan of attempts, those of the configuration hold.
    """

    name: str
    pbx: str | None
    mode: CampaignMode
    hours: Hours | None = None
    retry_after_s: tuple[int, ...] | None = None
    phones: tuple[str, ...] = ()
    queue: str | None = None
    record: bool = False
    announce: str | None = None
    wrap_up_s: int = 10


@dataclass(frozen=True, slots=True)
class ListReport:
    """The result of reading a list: the number of lines, and the first 1,000 faults."""

    lines: int
    refused: int
    faults: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The number that an agent previews; without one, `next_at` says when to ask again."""

    entry: CampaignEntry | None
    next_at: datetime | None


class Campaigns:
    """The campaigns of all PBXs; `regions` is the region of each PBX.

    `hours` and `retry_after_s` are those of the configuration.

    Raises NoSuchCampaign, NoSuchCampaignAgent, CampaignNotReady, and LockTimeout where another
    step takes too long.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pbxs: Pbxs,
        dialler: Dialler,
        regions: Mapping[str, str],
        *,
        hours: Hours = DEFAULT_HOURS,
        retry_after_s: tuple[int, ...] = (),
    ) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._dialler = dialler
        self._regions = regions
        self._hours = hours
        self._queue_read_at: dict[UUID, float] = {}
        self._retry_after_s = retry_after_s

    # Commands of a person

    def create(self, terms: CampaignTerms, *, by: Actor, owner_id: UUID) -> CampaignRecord:
        """Create a campaign without a list. Raises CannotDial, BadDestination."""
        pbx = self._dialler.choose_pbx(terms.pbx)
        phones = {parse_phone(one)[1]: one for one in terms.phones}
        made = CampaignRecord(
            id=uuid7(),
            name=terms.name,
            pbx=pbx,
            mode=terms.mode,
            state="draft",
            hours=terms.hours or self._hours,
            retry_after_s=self._retry_after_s
            if terms.retry_after_s is None
            else terms.retry_after_s,
            created_at=datetime.now(UTC),
            created_by=by.name,
            agents=tuple(phones),
            queue=terms.queue,
            record=terms.record,
            announce=terms.announce,
            wrap_up_s=terms.wrap_up_s,
            owner_id=owner_id,
        )
        with self._catalogue.begin() as tx:
            rights = find_rights(tx, owner_id, lock=True)
            if rights is None or not rights.sees_all(made.agents):
                raise PhoneNotPermitted(f"{by.name} may not run campaigns with these phones")
            campaigns.create_campaign(tx, made, phones)
            _note(tx, by, "campaign.create", made.id, name=made.name, mode=made.mode)
        log.info("campaign.created", campaign=str(made.id), by=by.name)
        return made

    def change(self, campaign_id: UUID, changes: Mapping[str, Any], *, by: Actor) -> CampaignRecord:
        """Change columns of a campaign; the next step follows them.

        `phones` replaces those of its agents. Raises BadDestination.
        """
        columns = dict(changes)
        phones = columns.pop("phones", None)
        wanted = {parse_phone(one)[1]: one for one in phones or ()}
        with self._catalogue.begin() as tx:
            before = campaigns.get_campaign(tx, campaign_id)
            if before.state in ("stopped", "done"):
                raise CampaignNotReady(f"the campaign is {before.state}")
            if phones is not None:
                columns["agents"] = list(wanted)
                known = {one.agent for one in campaigns.list_agents(tx, campaign_id)}
                campaigns.drop_agents(tx, campaign_id, known - wanted.keys())
                for agent in wanted.keys() - known:
                    campaigns.add_agent(tx, campaign_id, agent, wanted[agent], state="away")
            changed = campaigns.change_campaign(tx, campaign_id, **columns)
            _note(tx, by, "campaign.change", campaign_id, fields=sorted(changes))
            campaigns.defer_step(tx, campaign_id)
        return changed

    def replace_list(self, campaign_id: UUID, body: bytes, *, by: Actor) -> ListReport:
        """Read the list of a campaign that has not started, in place of its present list.

        The lines are written in several transactions, because a long one would keep all events
        back. Until the last one the campaign cannot start. Raises ListInvalid.
        """
        with self._lock(campaign_id):
            with self._catalogue.begin() as tx:
                record = campaigns.get_campaign(tx, campaign_id)
                if record.state != "draft":
                    raise CampaignNotReady("the list of a started campaign does not change")
                campaigns.change_campaign(tx, campaign_id, cause=LIST_INCOMPLETE)
                campaigns.drop_entries(tx, campaign_id)
            report = self._write_list(record, body)
            with self._catalogue.begin() as tx:
                campaigns.change_campaign(tx, campaign_id, cause=None)
                counts = {"lines": report.lines, "refused": report.refused}
                _note(tx, by, "campaign.list", campaign_id, **counts)
        log.info("campaign.listed", campaign=str(campaign_id), by=by.name, **counts)
        return report

    def start(self, campaign_id: UUID, *, by: Actor, owner_id: UUID) -> CampaignRecord:
        """Start a campaign, or resume a paused one, by the right of this owner."""
        with self._catalogue.begin() as tx:
            before = campaigns.get_campaign(tx, campaign_id)
            if before.state == "running":
                return before
            if before.state == "draft" and before.cause == LIST_INCOMPLETE:
                raise CampaignNotReady("the list was not read completely: send it again")
            if before.state == "draft" and not campaigns.has_open_entries(tx, campaign_id):
                raise CampaignNotReady("the campaign has no number to dial")
            if not is_permitted(find_rights(tx, owner_id, lock=True), before):
                raise PhoneNotPermitted(f"{by.name} may not run this campaign")
            started_at = before.started_at or datetime.now(UTC)
            return self._move(
                tx, before, "running", by=by, started_at=started_at, owner_id=owner_id, cause=None
            )

    def pause(self, campaign_id: UUID, *, by: Actor) -> CampaignRecord:
        """Dial no further number; the calls that ring or talk go on. Harmless to repeat."""
        with self._catalogue.begin() as tx:
            before = campaigns.get_campaign(tx, campaign_id)
            if before.state == "paused":
                return before
            return self._move(tx, before, "paused", by=by)

    def stop(self, campaign_id: UUID, *, by: Actor) -> CampaignRecord:
        """End a campaign at once: hang up the calls without a talk; talks go on."""
        with self._catalogue.begin() as tx:
            before = campaigns.get_campaign(tx, campaign_id)
            stopped = before
            if before.state != "stopped":
                stopped = self._move(tx, before, "stopped", by=by, ended_at=datetime.now(UTC))
            unanswered = list_unanswered(tx, campaign_id)
        self._hang_up(unanswered, by=by)
        return stopped

    def delete(self, campaign_id: UUID, *, by: Actor) -> None:
        """Delete a campaign that does not run, with its list."""
        with self._lock(campaign_id), self._catalogue.begin() as tx:
            record = campaigns.get_campaign(tx, campaign_id)
            if record.state in ("running", "paused") or campaigns.list_reserved(tx, campaign_id):
                raise CampaignNotReady("stop the campaign, and let its calls end, first")
            campaigns.delete_campaign(tx, campaign_id)
            _note(tx, by, "campaign.delete", campaign_id, name=record.name)
        log.info("campaign.deleted", campaign=str(campaign_id), by=by.name)

    # Commands of an agent

    def set_ready(self, campaign_id: UUID, agent: str, *, ready: bool, by: Actor) -> CampaignAgent:
        """Make an agent ready or away; an agent in a call stays in it. Harmless to repeat."""
        with self._catalogue.begin() as tx:
            campaign = campaigns.get_campaign(tx, campaign_id)
            if ready or campaign.mode == "progressive":  # waits for no step of a slow PBX
                return _set_ready(tx, campaign, agent, ready=ready, by=by)
        with self._lock(campaign_id), self._catalogue.begin() as tx:
            found = campaigns.get_agent(tx, campaign_id, agent)
            shown = find_entry_of(tx, campaign, found)
            if shown is not None and shown.state == "reserved":
                release(tx, campaign, shown)
            return _set_ready(tx, campaign, agent, ready=False, by=by)

    def show_next(self, campaign_id: UUID, agent: str, *, by: Actor) -> Shown:
        """Reserve the next number for an agent who previews it; a repeat shows the same one.

        Raises PhoneBusy.
        """
        with self._lock(campaign_id):
            for _ in range(PLANS_AT_ONCE):
                with self._catalogue.begin() as tx:
                    campaign, found = self._open_preview(tx, campaign_id, agent)
                    entry = find_entry_of(tx, campaign, found)
                    if entry is not None:
                        return Shown(entry, None)
                    if found.phone in campaigns.list_phones_in_calls(tx, campaign.pbx):
                        raise PhoneBusy(f"{found.phone} is in a call")
                    sources = ("away", "ready")
                    campaigns.move_agent(tx, campaign_id, agent, sources=sources, to="ready")
                    planned = plan_next(tx, campaign, [found])
                    reserved = reserve(tx, campaign, planned)
                    if reserved:
                        _note(tx, by, "campaign.show", campaign_id, agent=agent)
                        return Shown(reserved[0].entry, None)
                if not planned.refusals:
                    break
        return Shown(None, planned.next_at)

    def go(self, campaign_id: UUID, agent: str, *, by: Actor) -> DialRecord:
        """Dial the number that the agent previews, if that is still allowed.

        Raises NothingReserved, NumberRefused, and the errors of `Dialler.dial`.
        """
        with self._lock(campaign_id):
            with self._catalogue.begin() as tx:
                campaign, found = self._open_preview(tx, campaign_id, agent)
                entry = get_shown(tx, campaign, found)
                due = plan_entry(tx, campaign, found, entry)
                if due.refusals:
                    refuse(tx, campaign, entry.id, due.refusals[0][1])
                elif not due.reservations:
                    release(tx, campaign, entry)
            if due.refusals:
                raise NumberRefused(f"{entry.number} is refused now", rule=due.refusals[0][1])
            if not due.reservations:
                raise CampaignNotReady("the number is in a call, or outside its hours now")
            ready = Reserved(found, entry, due.reservations[0].allowed_by)
            dialled = self._dial(campaign, ready, by=by)
        log.info("campaign.previewed", campaign=str(campaign_id), call=dialled.call_id)
        return dialled

    def skip(self, campaign_id: UUID, agent: str, *, by: Actor) -> CampaignEntry:
        """Put the number back that the agent previews; it uses up no attempt."""
        with self._lock(campaign_id), self._catalogue.begin() as tx:
            campaign, found = self._open_preview(tx, campaign_id, agent)
            entry = get_shown(tx, campaign, found)
            wait_s = next(iter(campaign.retry_after_s), SKIPPED_FOR_S)
            again_at = datetime.now(UTC) + timedelta(seconds=wait_s)
            _note(tx, by, "campaign.skip", campaign_id, agent=agent, entry=str(entry.id))
            return release(tx, campaign, entry, next_at=again_at, cause="skipped")

    # Steps

    def step(self, campaign_id: UUID) -> None:
        """Bring a campaign forward; safe to repeat, and harmless for one that is gone."""
        with self._lock(campaign_id):
            for _ in range(PLANS_AT_ONCE):
                try:
                    if not self._step_once(campaign_id):
                        return
                except NoSuchCampaign:
                    return

    def sweep(self) -> None:
        """Ask for a step of every campaign that may need one."""
        with self._catalogue.begin() as tx:
            for campaign_id in campaigns.list_unsettled(tx):
                campaigns.defer_step(tx, campaign_id)

    def _step_once(self, campaign_id: UUID) -> bool:
        """Count, plan, reserve and dial once; return whether to plan again now."""
        with self._catalogue.begin() as tx:
            campaign = campaigns.get_campaign(tx, campaign_id)
        self._refresh_queue(campaign)
        with self._catalogue.begin() as tx:
            campaign = self._settle(tx, campaigns.get_campaign(tx, campaign_id))
            unanswered = list_unanswered(tx, campaign_id) if campaign.state == "stopped" else ()
        self._hang_up(unanswered, by=WORK)
        if campaign.state != "running" or campaign.mode == "preview":
            return False
        with self._catalogue.begin() as tx:
            planned = plan_next(tx, campaign, list_free(tx, campaign))
            reserved = reserve(tx, campaign, planned)
        for place, one in enumerate(reserved):
            if not self._dial_or_release(campaign, one):
                with self._catalogue.begin() as tx:
                    for left in reserved[place + 1 :]:
                        release(tx, campaign, left.entry)
                return False
        return bool(planned.refusals)

    def _settle(self, tx: Connection, campaign: CampaignRecord) -> CampaignRecord:
        """Count ended calls, release what nobody dials, and pause or end the campaign if due."""
        reserved = campaigns.list_reserved(tx, campaign.id)
        calls = campaigns.find_uncounted(tx, reserved)
        agents = {one.agent: one for one in campaigns.list_agents(tx, campaign.id)}
        for entry in reserved:
            settle_entry(tx, campaign, entry, calls.get(entry.id), agents.get(entry.agent or ""))
        held = {one.id for one in campaigns.list_reserved(tx, campaign.id)}
        for one in agents.values():
            if one.state == "reserved" and one.entry_id not in held:
                sources = ("reserved",)
                campaigns.move_agent(tx, campaign.id, one.agent, sources=sources, to="ready")
        if campaign.state != "running":
            return campaign
        if not is_permitted(find_rights(tx, campaign.owner_id), campaign):
            return self._move(tx, campaign, "paused", by=WORK, cause="not-permitted")
        if not campaigns.has_open_entries(tx, campaign.id):
            return self._move(tx, campaign, "done", by=WORK, ended_at=datetime.now(UTC))
        return campaign

    def _dial_or_release(self, campaign: CampaignRecord, reserved: Reserved) -> bool:
        """Dial for a reserved agent; return whether to go on with the next one."""
        try:
            with self._catalogue.begin() as tx:
                by = find_actor(tx, campaign.owner_id, otherwise=WORK)
            self._dial(campaign, reserved, by=by)
        except (PhoneBusy, BadDestination, PhoneNotPermitted, NotANumber, NumberRefused) as error:
            log.info("campaign.not-dialled", campaign=str(campaign.id), reason=str(error))
        except CampaignNotReady:  # paused or stopped meanwhile
            return False
        except CannotDial as error:
            with self._catalogue.begin() as tx:
                self._move(tx, campaign, "paused", by=WORK, cause=error.error_id)
            return False
        except PbxUnavailable as error:
            log.warning("campaign.postponed", campaign=str(campaign.id), error=str(error))
            return False
        return True

    def _dial(self, campaign: CampaignRecord, reserved: Reserved, *, by: Actor) -> DialRecord:
        """Ring the agent's phone, then follow the call; release what cannot be dialled."""
        agent, entry = reserved.agent, reserved.entry
        request = DialRequest(
            campaign.pbx,
            agent.phone,
            str(entry.number),
            record=campaign.record or None,
            announce=campaign.announce,
            campaign_id=campaign.id,
            entry_id=entry.id,
            allowed_by=reserved.allowed_by,
            key=f"campaign {entry.id} {entry.last_dial_id}",
        )

        def claim(tx: Connection, _: DialRecord) -> None:
            """Move the entry with the row of its call: both are written, or neither."""
            state = campaigns.lock_campaign(tx, campaign.id).state
            if state != "running":
                raise CampaignNotReady(f"the campaign is {state}")
            campaigns.move_entry(tx, entry.id, sources=("reserved",), to="dialling")

        try:
            return self._dialler.dial(request, by=by, owner_id=None, claim=claim)
        except CampaignNotReady:
            with self._catalogue.begin() as tx:
                release(tx, campaign, entry)
            raise
        except (NotANumber, NumberRefused) as error:
            with self._catalogue.begin() as tx:
                refuse(tx, campaign, entry.id, error.error_id)
            raise
        except (PhoneBusy, CannotDial) as error:
            with self._catalogue.begin() as tx:
                release(tx, campaign, entry, rests_s=BUSY_RESTS_S, cause=error.error_id)
            raise
        except (BadDestination, PhoneNotPermitted) as error:
            with self._catalogue.begin() as tx:
                release(tx, campaign, entry, away=True, cause=error.error_id)
            raise

    def _hang_up(self, calls: Collection[DialRecord], *, by: Actor) -> None:
        """Hang up calls without a talk. Where a PBX does not answer, the next step repeats it."""
        for one in calls:
            try:
                self._dialler.hang_up(one.id, by=by)
            except PbxUnavailable as error:
                log.warning("campaign.not-hung-up", call=one.call_id, error=str(error))

    def _open_preview(
        self, tx: Connection, campaign_id: UUID, agent: str
    ) -> tuple[CampaignRecord, CampaignAgent]:
        """Return a running campaign with a preview, and an agent of it."""
        campaign = self._settle(tx, campaigns.get_campaign(tx, campaign_id))
        if campaign.mode != "preview":
            raise CampaignNotReady("the campaign dials by itself")
        if campaign.state != "running":
            raise CampaignNotReady(f"the campaign is {campaign.state}")
        return campaign, campaigns.get_agent(tx, campaign_id, agent)

    def _refresh_queue(self, campaign: CampaignRecord) -> None:
        """Take the phones that are members of the queue now as agents, every few seconds."""
        if campaign.queue is None or campaign.state != "running":
            return
        read_at = self._queue_read_at.get(campaign.id)
        if read_at is not None and time.monotonic() - read_at < QUEUE_EVERY_S:
            return
        self._queue_read_at[campaign.id] = time.monotonic()
        try:
            with self._pbxs.reach(campaign.pbx) as ari:
                phones = read_members(ari, campaign.id, campaign.queue)
        except PbxUnavailable as error:
            log.warning("campaign.queue-unknown", campaign=str(campaign.id), error=str(error))
            return
        with self._catalogue.begin() as tx:
            visible = _visible_agents(tx, campaign)
            known = {one.agent for one in campaigns.list_agents(tx, campaign.id)}
            for agent in phones.keys() - known:
                if visible is None or agent in visible:
                    campaigns.add_agent(tx, campaign.id, agent, phones[agent], state="ready")
            campaigns.drop_agents(tx, campaign.id, known - phones.keys() - {*campaign.agents})

    def _write_list(self, campaign: CampaignRecord, body: bytes) -> ListReport:
        region = self._regions.get(campaign.pbx, "US")
        found = read_list(
            body,
            campaign.id,
            now=datetime.now(UTC),
            check=lambda text: self._dialler.check_number(campaign.pbx, text)[0],
            find_zones=lambda number: choose_zones(zones_of(number), region),
        )
        count = refused = 0
        faults: list[Line] = []
        batch: list[CampaignEntry] = []
        for line in found:
            count += 1
            batch.append(line.entry)
            if line.reason is not None:
                refused += 1
                faults += [line] if len(faults) < MOST_FAULTS else []
            if len(batch) == WRITTEN_AT_ONCE:
                self._write_entries(batch)
                batch = []
        self._write_entries(batch)
        return ListReport(count, refused, tuple(faults))

    def _write_entries(self, entries: Sequence[CampaignEntry]) -> None:
        with self._catalogue.begin() as tx:
            campaigns.add_entries(tx, entries)

    def _move(
        self,
        tx: Connection,
        campaign: CampaignRecord,
        to: CampaignState,
        *,
        by: Actor,
        **columns: Any,
    ) -> CampaignRecord:
        moved = campaigns.move_campaign(tx, campaign.id, to=to, **columns)
        if moved is None:
            raise CampaignNotReady(f"the campaign is {campaign.state}: it cannot become {to}")
        _note(tx, by, f"campaign.{to}", campaign.id, name=moved.name, cause=moved.cause)
        campaigns.defer_step(tx, campaign.id)
        log.info(
            "campaign.moved", campaign=str(campaign.id), state=to, by=by.name, cause=moved.cause
        )
        return moved

    def _lock(self, campaign_id: UUID) -> Any:
        return self._catalogue.lock(f"campaign {campaign_id}", wait_s=LOCK_WITHIN_S)


def _set_ready(
    tx: Connection, campaign: CampaignRecord, agent: str, *, ready: bool, by: Actor
) -> CampaignAgent:
    """Move an agent to ready or away, and return the agent; a reserved one is ready enough."""
    found = campaigns.get_agent(tx, campaign.id, agent)
    to: CampaignAgentState = "ready" if ready else "away"
    sources = ("away",) if ready else ("ready", "reserved")
    moved = campaigns.move_agent(tx, campaign.id, agent, sources=sources, to=to)
    if moved is not None:
        _note(tx, by, f"campaign.{to}", campaign.id, agent=agent)
        campaigns.defer_step(tx, campaign.id)
    return moved or found


def _visible_agents(tx: Connection, campaign: CampaignRecord) -> frozenset[str] | None:
    """Return the agents whom the owner of a campaign may see now; None is all of them."""
    owner = find_rights(tx, campaign.owner_id)
    return owner.agents if owner is not None else frozenset()


def is_permitted(rights: Rights | None, campaign: CampaignRecord) -> bool:
    """Whether the owner of these rights may run campaigns, and sees the agents of this one."""
    if rights is None or not rights.may(CAMPAIGNS_CONTROL, CALLS_DIAL):
        return False
    return rights.sees_all(campaign.agents)


def _note(tx: Connection, by: Actor, action: str, campaign_id: UUID, **detail: Any) -> None:
    audit.add_audit(
        tx, actor=by, action=action, subject=str(campaign_id), outcome="done", detail=detail
    )
