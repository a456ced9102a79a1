"""The rules, their versions, and trials of draft rules on past calls."""

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Response
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from api.auth import get_if_own, holding_rights, principal, refuse
from api.errors import RequestInvalid
from api.fields.base import ListQuery, list_fields
from api.fields.rules import (
    MOST_CHANGES,
    ChangedCallList,
    ChangedRule,
    NewRule,
    Rule,
    RuleList,
    RuleTest,
    RuleTrial,
    RuleTrialResult,
    RuleVersionList,
    Terms,
    VersionQuery,
    change_fields,
    result_fields,
    rule_fields,
    trial_fields,
)
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from api.turns import give_turn_back
from recorder.errors import RuleInvalid
from recorder.rules import compile_rule
from recorder.rules.trial import Trial, may_try
from storage.catalogue import rules, trials
from storage.catalogue.cursor import decode_cursor, encode_cursor
from storage.errors import BadCursor, NoSuchRule, NoSuchTrial, RuleChanged, RuleReadOnly
from storage.permissions import RULES_READ, RULES_WRITE
from storage.records import RuleRecord, Slice, TrialRecord

operations = Operations("/api/v1", tag="rules")

TRIED_BY_DEFAULT = timedelta(days=30)
# A trial that takes longer becomes a job, and so does one that waits too long for another.
TRIAL_TAKES_S = 2.0
TRIAL_WITHIN_S = 2.5
TRIAL_LOCK = threading.Lock()
LOCATION = {"Location": "the trial"}


@operations.get("/rules", RULES_READ, json(RuleList), query=ListQuery, errors=(BadCursor,))
def list_rules(query: ListQuery) -> Response:
    """List the rules of the configuration and of the API, in the order of their evaluation."""
    found = list_all()
    if query.cursor is not None:
        after = decode_cursor(query.cursor, int, str)
        found = [one for one in found if _place(one) > after]
    more = len(found) > query.limit
    last = found[query.limit - 1] if more else None
    cursor = encode_cursor(str(last.priority), last.id) if last is not None else None
    page = Slice(tuple(found[: query.limit]), cursor)
    return answer(list_fields(page, rule_fields))


@operations.post(
    "/rules",
    RULES_WRITE,
    {201: Reply("The new rule, in force.", Rule, headers={"Location": "the rule"})},
    body=NewRule,
    errors=(RuleInvalid,),
)
def create_rule(body: NewRule) -> Response:
    """Add a rule. Every process uses it within a second; running recordings do not change."""
    record = _record(body)
    compile_rule(record)
    with services().catalogue.begin() as tx:
        kept = rules.create_rule(tx, record, by=principal().actor)
    return answer(rule_fields(kept), 201, Location=f"{base_url()}/api/v1/rules/{kept.id}")


@operations.get(
    "/rules/<rule_id>", RULES_READ, json(Rule), query=VersionQuery, errors=(NoSuchRule,)
)
def get_rule(rule_id: str, query: VersionQuery) -> Response:
    """Get a rule: its newest version, or the given one."""
    configured = find_configured(rule_id)
    if configured is not None and query.version in (None, configured.version):
        return answer(rule_fields(configured))
    with services().catalogue.begin() as tx:
        return answer(rule_fields(rules.get_rule(tx, rule_id, version=query.version)))


@operations.get(
    "/rules/<rule_id>/versions",
    RULES_READ,
    json(RuleVersionList),
    query=ListQuery,
    errors=(NoSuchRule, BadCursor),
)
def list_rule_versions(rule_id: str, query: ListQuery) -> Response:
    """List the versions of a rule, newest first, also of a deleted one."""
    configured = find_configured(rule_id)
    if configured is not None:
        return answer(list_fields(Slice((configured,), None), rule_fields))
    with services().catalogue.begin() as tx:
        page = rules.list_versions(tx, rule_id, **query.model_dump())
    if not page.items and query.cursor is None:
        raise NoSuchRule(f"there is no rule {rule_id}")
    return answer(list_fields(page, rule_fields))


@operations.put(
    "/rules/<rule_id>",
    RULES_WRITE,
    json(Rule, "The rule in its new version."),
    body=ChangedRule,
    errors=(NoSuchRule, RuleInvalid, RuleReadOnly, RuleChanged),
)
def replace_rule(rule_id: str, body: ChangedRule) -> Response:
    """Replace a rule by its next version; `version` is the version on which the change is based."""
    _refuse_configured(rule_id)
    record = _record(body, id_=rule_id, version=body.version)
    compile_rule(record)
    with services().catalogue.begin() as tx:
        return answer(rule_fields(rules.replace_rule(tx, record, by=principal().actor)))


@operations.delete(
    "/rules/<rule_id>",
    RULES_WRITE,
    json(Rule, "The rule, no longer in force."),
    errors=(NoSuchRule, RuleReadOnly, RuleChanged),
)
def delete_rule(rule_id: str) -> Response:
    """Delete a rule; its versions are kept."""
    _refuse_configured(rule_id)
    with services().catalogue.begin() as tx:
        return answer(rule_fields(rules.delete_rule(tx, rule_id, by=principal().actor)))


@operations.post(
    "/rules/test",
    RULES_READ,
    {
        200: Reply("The result.", RuleTrialResult),
        202: Reply("The trial goes on in the background.", RuleTrial, headers=LOCATION),
    },
    body=RuleTest,
    errors=(RuleInvalid,),
)
def try_draft_rules(body: RuleTest) -> Response:
    """Try draft rules on past calls: count the recordings, and list the calls that differ.

    If that takes longer than two seconds, the answer is 202, and the trial goes on in the
    background. A new one ends your earlier one that is not done.
    """
    drafts = [_record(rule, id_=f"draft-{place}") for place, rule in enumerate(body.rules, 1)]
    for draft in drafts:
        compile_rule(draft)
    to_at = body.to_at or datetime.now(UTC)
    from_at = body.from_at or to_at - TRIED_BY_DEFAULT
    if from_at >= to_at:
        raise RequestInvalid.at("body", "from", "must be before `to`")
    agents = principal().agents
    record = TrialRecord(
        id=uuid7(),
        drafts=tuple(drafts),
        default_action=body.default,
        from_at=from_at,
        to_at=to_at,
        state="waiting",
        created_by=principal().name,
        created_at=datetime.now(UTC),
        owner_id=principal().id,
        agents=tuple(agents) if agents is not None else None,
    )
    trial = Trial(services().catalogue, record)
    if not _finishes_now(trial):
        with holding_rights() as (tx, rights):
            is_permitted = may_try(rights, record.agents)
            if is_permitted:
                trials.create_trial(tx, record)
        if not is_permitted:
            refuse("calls of other agents")
        location = f"{base_url()}/api/v1/rules/trials/{record.id}"
        return answer(trial_fields(record, ()), 202, Location=location)
    result = trial.result()
    if len(trial.changes) <= MOST_CHANGES:
        return answer(result_fields(result, trial.changes, None))
    finished = replace(
        record,
        state="done",
        done=trial.done,
        total=trial.done,
        result=result,
        ended_at=datetime.now(UTC),
    )
    with holding_rights() as (tx, _):
        trials.keep_trial(tx, finished, trial.changes)
    return answer(result_fields(result, trial.changes, record.id))


@operations.get("/rules/trials/<uuid:trial_id>", RULES_READ, json(RuleTrial), errors=(NoSuchTrial,))
def get_rule_trial(trial_id: UUID) -> Response:
    """Get a trial of yours: its progress, and its result once it is done; it is kept for a week."""
    found = get_if_own(_get_trial, trial_id)
    with services().catalogue.begin() as tx:
        changes = trials.list_changes(tx, trial_id, limit=MOST_CHANGES).items
    return answer(trial_fields(found, changes))


@operations.get(
    "/rules/trials/<uuid:trial_id>/changes",
    RULES_READ,
    json(ChangedCallList),
    query=ListQuery,
    errors=(NoSuchTrial, BadCursor),
)
def list_rule_trial_changes(trial_id: UUID, query: ListQuery) -> Response:
    """List the calls that a trial of yours changes, newest first, also while it runs."""
    get_if_own(_get_trial, trial_id)
    with services().catalogue.begin() as tx:
        page = trials.list_changes(tx, trial_id, **query.model_dump())
    return answer(list_fields(page, change_fields))


def _get_trial(tx: Connection, trial_id: UUID, *, owner_id: UUID | None = None) -> TrialRecord:
    """Return a trial of this owner, the caller, who must still see each of its agents.

    Raises NoSuchTrial. Without an owner, return any trial.
    """
    found = trials.get_trial(tx, trial_id)
    is_own = found.owner_id == owner_id and may_try(principal(), found.agents)
    if owner_id is not None and not is_own:
        raise NoSuchTrial(f"there is no trial {trial_id}")
    return found


def _finishes_now(trial: Trial) -> bool:
    """Whether a trial ends within two seconds; one runs at a time, as each needs a whole core."""
    with ExitStack() as held:
        with give_turn_back():
            if not TRIAL_LOCK.acquire(timeout=TRIAL_WITHIN_S):
                return False
            held.callback(TRIAL_LOCK.release)
        until = time.monotonic() + TRIAL_TAKES_S
        return all(time.monotonic() < until for _ in trial.steps())


def _record(terms: Terms, *, id_: str = "", version: int = 1) -> RuleRecord:
    fields = terms.model_dump(exclude={"version"})
    return RuleRecord(**fields, id=id_, version=version, origin="api")


def list_all() -> list[RuleRecord]:
    """Return the rules of the configuration and of the API, in the order of their evaluation."""
    with services().catalogue.begin() as tx:
        kept = rules.list_active_rules(tx)
    return sorted([*services().settings.rules, *kept], key=_place)


def find_configured(rule_id: str) -> RuleRecord | None:
    """Return the rule with this id from the configuration, if any."""
    return next((one for one in services().settings.rules if one.id == rule_id), None)


def _refuse_configured(rule_id: str) -> None:
    if find_configured(rule_id) is not None:
        raise RuleReadOnly(f"rule {rule_id} belongs to the configuration")


def _place(rule: RuleRecord) -> tuple[int, str]:
    return rule.priority, rule.id
