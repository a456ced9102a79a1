"""The pages of the rules: the list in the order of precedence, and an editor."""

from typing import Any, get_args

from flask import Response
from flask_babel import gettext as _
from flask_babel import ngettext

from api.fields.rules import Terms
from api.pages.history import history_of
from api.pages.page import Pages, show, show_notice
from api.routes.rules import find_configured, list_all
from api.services import services
from recorder.rules import FIELDS, RANK
from storage.catalogue import rules
from storage.permissions import RULES_READ, RULES_WRITE
from storage.records import Format, RuleRecord

pages = Pages()

# The plural cases of Unicode, and for each a number of that case in the languages that have it.
CASES = {"zero": 0, "one": 1, "two": 2, "few": 3, "many": 11, "other": 100}


@pages.get("/rules", RULES_READ)
def show_rules() -> Response:
    """Show all rules in the order of precedence."""
    found = list_all()
    ranks = sorted({*RANK.values()})
    groups = [[one for one in found if RANK[one.action] == rank] for rank in ranks]
    headings = [
        _("First: the first match wins"),
        _("Then: the first match is recorded"),
        _("Then: recorded on demand"),
    ]
    return show(
        "rules.html",
        groups=list(zip(headings, groups, strict=True)),
        actions=_actions(),
        default=_actions()[services().settings.default_action],
    )


@pages.get("/rules/new", RULES_WRITE)
def show_new_rule() -> Response:
    """Show an empty editor."""
    return _editor(None, ())


@pages.get("/rules/<rule_id>", RULES_READ)
def show_rule(rule_id: str) -> Response:
    """Show the editor of a rule, and the rule's history."""
    configured = find_configured(rule_id)
    if configured is not None:
        return _editor(configured, ())
    with services().catalogue.begin() as tx:
        versions = rules.list_versions(tx, rule_id).items
    if versions:
        return _editor(versions[0], versions)
    return show_notice(_("There is no such rule"), "", 404, way=("/rules", _("All rules")))


def _editor(rule: RuleRecord | None, versions: tuple[RuleRecord, ...]) -> Response:
    others = [one for one in list_all() if one.enabled and (rule is None or one.id != rule.id)]
    words = {
        "saved": _("Saved: the rule is in force."),
        "good": _("The condition is valid."),
        "tried": {
            case: ngettext(
                "{calls} call of the last 30 days: {recorded} would have been recorded,"
                " {recorded_before} had been.",
                "{calls} calls of the last 30 days: {recorded} would have been recorded,"
                " {recorded_before} had been.",
                number,
            )
            for case, number in CASES.items()
        },
        "changed": {
            case: ngettext("{changed} of them changes.", "{changed} of them change.", number)
            for case, number in CASES.items()
        },
        "part": _("Too many calls: these are the newest."),
        "waits": _("The trial waits for another one…"),
        "progress": _("{done} of {total} calls examined…"),
        "failed": _("The trial failed. Try again."),
        "month": _("A month: {hours} hours, {megabytes} MB."),
        "delete": _("Delete this rule? Its history stays."),
    }
    return show(
        "rule.html",
        rule=rule,
        versions=history_of(versions),
        actions=_actions(),
        call_fields=FIELDS,
        terms=_terms(rule) if rule is not None else {},
        others=[_terms(one) for one in others],
        layouts={
            "dual": _("one on each side"),
            "mono": _("all in one"),
            "tracks": _("one track for each person"),
        },
        formats=get_args(Format),
        default=services().settings.default_action,
        words=words,
    )


def _terms(rule: RuleRecord) -> dict[str, Any]:
    """Return the fields of a rule that the API takes."""
    return {name: getattr(rule, name) for name in Terms.model_fields}


def _actions() -> dict[str, str]:
    return {
        "force": _("always record"),
        "never": _("never record"),
        "record": _("record"),
        "on_demand": _("record on demand"),
    }
