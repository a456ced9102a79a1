"""The rules of the API, with every version; the highest version of a rule is in force."""

from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.exc import IntegrityError
from uuid_utils.compat import uuid7

from storage.catalogue import audit, events
from storage.catalogue.cursor import decode_cursor, one_more, parse_int4, slice_of
from storage.errors import NoSuchRule, RuleChanged
from storage.records import Actor, RuleRecord, Slice
from storage.schema import rule

_LISTS = ("variables", "headers", "tags")


def create_rule(tx: Connection, record: RuleRecord, *, by: Actor) -> RuleRecord:
    """Create a rule; assign its id, and version 1."""
    return _keep(tx, record.replace(id=str(uuid7()), version=1), by, "rule.create")


def replace_rule(tx: Connection, record: RuleRecord, *, by: Actor) -> RuleRecord:
    """Add the next version of a rule; `record.version` is the version that the change is based on.

    Raises NoSuchRule, and RuleChanged if there is a newer version.
    """
    return _succeed(tx, record, by, "rule.replace")


def delete_rule(tx: Connection, rule_id: str, *, by: Actor) -> RuleRecord:
    """Delete a rule; its versions stay. Raises NoSuchRule."""
    return _succeed(tx, get_rule(tx, rule_id).replace(deleted=True), by, "rule.delete")


def get_rule(tx: Connection, rule_id: str, *, version: int | None = None) -> RuleRecord:
    """Return a rule as it is, or in this version, deleted or not. Raises NoSuchRule."""
    found = [one for one in list_versions(tx, rule_id).items if version in (None, one.version)]
    if not found or (version is None and found[0].deleted):
        raise NoSuchRule(f"there is no rule {rule_id}" + (f" {version}" if version else ""))
    return found[0]


def list_versions(
    tx: Connection, rule_id: str, *, limit: int | None = None, cursor: str | None = None
) -> Slice[RuleRecord]:
    """Return a slice of the versions of a rule, newest first; empty if there was no such rule."""
    query = select(rule).where(rule.c.id == rule_id)
    if cursor is not None:
        (before,) = decode_cursor(cursor, parse_int4)
        query = query.where(rule.c.version < before)
    rows = tx.execute(query.order_by(rule.c.version.desc()).limit(one_more(limit))).mappings()
    return slice_of([_record(row) for row in rows], limit, lambda one: (str(one.version),))


def list_active_rules(tx: Connection) -> tuple[RuleRecord, ...]:
    """Return every rule in the order of evaluation, disabled rules too."""
    highest = select(rule).ext(distinct_on(rule.c.id)).order_by(rule.c.id, rule.c.version.desc())
    newest = highest.subquery()
    query = select(newest).where(~newest.c.deleted).order_by(newest.c.priority, newest.c.id)
    return tuple(_record(row) for row in tx.execute(query).mappings())


def rules_revision(tx: Connection) -> int:
    """Return a number that grows with every change, because versions are only ever added."""
    return tx.scalar(select(func.count()).select_from(rule)) or 0


def _succeed(tx: Connection, record: RuleRecord, by: Actor, action: str) -> RuleRecord:
    newest = get_rule(tx, record.id)
    if newest.version != record.version:
        raise RuleChanged(f"rule {record.id} is at version {newest.version} already")
    return _keep(tx, record.replace(version=record.version + 1), by, action)


def _keep(tx: Connection, record: RuleRecord, by: Actor, action: str) -> RuleRecord:
    kept = record.replace(changed_at=datetime.now(UTC), changed_by=by.name)
    values = kept.model_dump(exclude={"origin"})
    try:
        with tx.begin_nested():
            tx.execute(insert(rule).values({name: _column(values[name]) for name in values}))
    except IntegrityError as error:  # another process was quicker
        raise RuleChanged(f"rule {record.id} has just been changed") from error
    named = {"name": kept.name, "version": kept.version}
    audit.add_audit(tx, actor=by, action=action, subject=kept.id, outcome="done", detail=named)
    events.add_event(tx, "rule.changed", {"id": kept.id, **named})
    return kept


def _column(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _record(row: RowMapping) -> RuleRecord:
    lists = {name: tuple(row[name]) for name in _LISTS}
    return RuleRecord(**{**row, **lists, "origin": "api"})
