"""End in one transaction all that the present rights of an owner no longer cover.

A right is withdrawn when a token is revoked, a person is removed, signs out, or gets another role,
team, name or password, and when an agent leaves a team. Whoever withdraws it changes the rows of
the owner first, then calls `withdraw` in the same transaction. The lists and pages then show at
once that the owner's links, jobs and spies have ended.

Each use asks `find_rights` again as well, so nothing depends on this alone. Example: a session
expires without any transaction, and the next check of its spy finds that it is gone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection

from recorder.dialling.callbacks import is_permitted as may_call_back
from recorder.dialling.campaigns import is_permitted as may_run
from recorder.errors import RightWithdrawn
from recorder.rules.trial import may_try
from recorder.spy.rights import modes_on
from recorder.spy.trail import note
from storage.catalogue import (
    audit,
    bulks,
    callbacks,
    calls,
    campaigns,
    idempotency,
    links,
    searches,
    spies,
    trials,
    webhooks,
)
from storage.catalogue.agents import list_left
from storage.catalogue.rights import Rights, find_rights, list_members
from storage.permissions import RECORDINGS_HEAR, RECORDINGS_SHARE
from storage.records import Actor, SpyRecord

log = structlog.get_logger()

NOT_PERMITTED = "not-permitted"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The spies that a withdrawal ended or restricted.

    `Spies.take_down(withdrawn.spy_ids)` settles the PBX after the transaction; without it the
    watcher does, within 5 s.
    """

    spy_ids: tuple[UUID, ...] = ()


def withdraw(
    tx: Connection, *owner_ids: UUID, teams_before: Mapping[str, str] | None = None, by: Actor
) -> Withdrawn:
    """End all that the rights of these owners, as they are now, no longer cover.

    An owner is a person, a token or a session. `teams_before` has the teams of agents before the
    change, as `find_teams` returns them: the members of each team that one has left are owners too.
    `by` has withdrawn the right, and stands in the audit trail.

    Example: `users.delete_user(tx, ann.id)`, then `withdraw(tx, ann.id, by=principal().actor)`.
    """
    left = list_left(tx, teams_before) if teams_before else ()
    owners = dict.fromkeys((*owner_ids, *list_members(tx, left)))
    if not owners:
        return Withdrawn()
    spy_ids = _end_spies(tx, tuple(owners), by)
    for owner_id in owners:
        rights = find_rights(tx, owner_id)
        _revoke_links(tx, owner_id, rights, by)
        _end_bulks(tx, owner_id, rights, by)
        _end_trials(tx, owner_id, rights, by)
        _end_dialling(tx, owner_id, rights, by)
        _stop_webhooks(tx, owner_id, rights, by)
        if rights is None:
            searches.delete_searches_of(tx, owner_id)
    idempotency.drop_answers_of(tx, owners)
    return Withdrawn(spy_ids)


def _end_spies(tx: Connection, owner_ids: Collection[UUID], by: Actor) -> tuple[UUID, ...]:
    """End the spies that have no mode left; return the ids of all spies to settle."""
    found = spies.list_live_spies_of(tx, owner_ids)
    for one in found:
        rights = find_rights(tx, one.owner_id)
        call = calls.find_call(tx, one.call_id)
        agents = {one.agent, call.agent if call is not None else None}
        if not any(modes_on(rights, agent) for agent in agents):
            _end_spy(tx, one, by)
    return tuple(one.id for one in found)


def _end_spy(tx: Connection, spy: SpyRecord, by: Actor) -> None:
    now = datetime.now(UTC)
    moved = spies.move_spy(tx, spy.id, to="ended", ended_at=now, cause=NOT_PERMITTED)
    if moved is not None:
        note(tx, by, "spy.end", moved, cause=NOT_PERMITTED)
        log.info("spy.ended", spy=str(spy.id), cause=NOT_PERMITTED, by=by.name)


def _revoke_links(tx: Connection, owner_id: UUID, rights: Rights | None, by: Actor) -> None:
    shares = rights is not None and rights.may(RECORDINGS_SHARE, RECORDINGS_HEAR)
    for one in links.revoke_links_of(
        tx, owner_id, except_of=rights.agents if rights is not None and shares else ()
    ):
        _note(tx, by, "link.revoke", one.recording_id, link=str(one.id))
        log.info("link.revoked", link=str(one.id), cause=NOT_PERMITTED, by=by.name)


def _end_bulks(tx: Connection, owner_id: UUID, rights: Rights | None, by: Actor) -> None:
    """End the bulks whose action is not permitted; a running one refuses hidden recordings."""
    for one in bulks.list_unfinished_of(tx, owner_id):
        if not bulks.is_permitted(rights, one):
            ended = {
                "state": "failed",
                "reason": RightWithdrawn.error_id,
                "ended_at": datetime.now(UTC),
            }
            bulks.set_bulk(tx, one.id, **ended)
            _note(tx, by, "bulk.end", one.id, what=one.action)
            log.info("bulk.ended", bulk=str(one.id), cause=NOT_PERMITTED, by=by.name)


def _end_trials(tx: Connection, owner_id: UUID, rights: Rights | None, by: Actor) -> None:
    for one in trials.list_unfinished_of(tx, owner_id):
        if not may_try(rights, one.agents):
            trials.end_trial(tx, one.id, None, RightWithdrawn.error_id)
            log.info("trial.ended", trial=str(one.id), cause=NOT_PERMITTED, by=by.name)


def _end_dialling(tx: Connection, owner_id: UUID, rights: Rights | None, by: Actor) -> None:
    """Cancel call-backs, and pause campaigns: somebody else may resume them."""
    for waiting in callbacks.list_waiting_of(tx, owner_id):
        if not may_call_back(rights, waiting):
            ended = {"next_at": None, "ended_at": datetime.now(UTC), "cause": NOT_PERMITTED}
            if callbacks.move_callback(tx, waiting.id, to="cancelled", **ended) is not None:
                _note(tx, by, "callback.cancel", waiting.id, number=waiting.number)
                log.info("callback.ended", callback=str(waiting.id), cause=NOT_PERMITTED)
    for running in campaigns.list_running_of(tx, owner_id):
        if may_run(rights, running):
            continue
        if campaigns.move_campaign(tx, running.id, to="paused", cause=NOT_PERMITTED) is not None:
            _note(tx, by, "campaign.paused", running.id, name=running.name)
            campaigns.defer_step(tx, running.id)
            log.info("campaign.moved", campaign=str(running.id), cause=NOT_PERMITTED)


def _stop_webhooks(tx: Connection, owner_id: UUID, rights: Rights | None, by: Actor) -> None:
    cause = webhooks.stop_cause_of(rights)
    if cause is not None:
        for one in webhooks.stop_webhooks_of(tx, owner_id, cause=cause, actor=by):
            log.warning("webhook.stopped", webhook=str(one.id), reason=cause, by=by.name)


def _note(tx: Connection, by: Actor, action: str, subject: UUID, **detail: str) -> None:
    audit.add_audit(
        tx,
        actor=by,
        action=action,
        subject=str(subject),
        outcome="done",
        detail={"cause": NOT_PERMITTED} | detail,
    )
