"""The rules, their versions, and trials of draft rules on past calls."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from flask import Response

from api.auth import principal
from api.errors import Busy, RequestInvalid
from api.fields.base import ListQuery, list_fields
from api.fields.rules import (
    ChangedRule,
    NewRule,
    Rule,
    RuleList,
    RuleTest,
    RuleTrial,
    RuleVersionList,
    Terms,
    VersionQuery,
    rule_fields,
    trial_fields,
)
from api.links import base_url
from api.operation import Operations, Reply, answer, json
from api.services import services
from api.turns import give_turn_back
from recorder.errors import RuleInvalid
from recorder.rules import compile_rule
from recorder.rules.trial import try_rules
from storage.catalogue import rules
from storage.catalogue.cursor import decode_cursor, encode_cursor
from storage.errors import BadCursor, NoSuchRule, RuleChanged, RuleReadOnly
from storage.permissions import RULES_READ, RULES_WRITE
from storage.records import RuleRecord, Slice

operations = Operations("/api/v1", tag="rules")

TRIED_BY_DEFAULT = timedelta(days=30)
TRIAL_TAKES_S = 10.0
# A second trial waits for the first to end; a third would wait too long.
TRIAL_WITHIN_S = 12.0
TRIAL_LOCK = threading.Lock()


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
        kept = rules.create_rule(tx, record, by=principal().name)
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
        return answer(rule_fields(rules.replace_rule(tx, record, by=principal().name)))


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
        return answer(rule_fields(rules.delete_rule(tx, rule_id, by=principal().name)))


@operations.post("/rules/test", RULES_READ, json(RuleTrial), body=RuleTest, errors=(RuleInvalid,))
def try_draft_rules(body: RuleTest) -> Response:
    """Try draft rules on past calls: count the recordings, and list the calls that differ.

    A trial takes at most 10 s. If there are too many calls, it examines the newest, and `complete`
    is false.
    """
    drafts = [_record(rule, id_=f"draft-{place}") for place, rule in enumerate(body.rules, 1)]
    for draft in drafts:
        compile_rule(draft)
    to_at = body.to_at or datetime.now(UTC)
    from_at = body.from_at or to_at - TRIED_BY_DEFAULT
    if from_at >= to_at:
        raise RequestInvalid.at("body", "from", "must be before `to`")
    with _alone():
        trial = try_rules(
            services().catalogue,
            drafts,
            body.default,
            from_at=from_at,
            to_at=to_at,
            agents=principal().agents,
            within_s=TRIAL_TAKES_S,
        )
    return answer(trial_fields(trial))


@contextmanager
def _alone() -> Iterator[None]:
    """Run one trial at a time in a process, because a trial needs a whole core. Raises Busy."""
    with ExitStack() as held:
        with give_turn_back():
            if not TRIAL_LOCK.acquire(timeout=TRIAL_WITHIN_S):
                raise Busy("another trial of rules is running")
            held.callback(TRIAL_LOCK.release)
        yield


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
