"""The page of the audit trail."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask_babel import gettext as _
from pydantic import ValidationError

from api.fields.system import AuditQuery
from api.pages.page import Pages, form_fields, show, wants_next_part
from api.services import services
from storage.catalogue import audit
from storage.errors import BadCursor
from storage.permissions import AUDIT_READ
from storage.records import ActorKind, AuditRecord, Slice

pages = Pages()

AT_ONCE = 50


@pages.get("/audit", AUDIT_READ)
def show_audit() -> Response:
    """Show the trail, newest first, filtered by the form; scrolling loads the next part."""
    form = form_fields()
    found: Slice[AuditRecord] = Slice((), None)
    fault = ""
    try:
        wanted = AuditQuery.model_validate({**form, "limit": AT_ONCE})
        with services().catalogue.begin() as tx:
            found = audit.list_audit(tx, **wanted.model_dump())
    except (ValidationError, BadCursor):
        fault = _("This search is not possible. Clear the fields, or start again.")
    values: dict[str, Any] = {
        "found": found,
        "form": form,
        "detail": _detail,
        "kinds": actor_kinds(),
    }
    if wants_next_part() and not fault:
        return show("_audit.html", **values)
    return show("audit.html", fault=fault, narrowed=bool(form), **values)


def actor_kinds() -> dict[ActorKind, str]:
    """Return the kinds of actors in words."""
    return {
        "user": _("person"),
        "token": _("token"),
        "rule": _("rule"),
        "dialplan": _("PBX"),
        "link": _("shared link"),
        "system": _("Earwitness itself"),
    }


def _detail(detail: Mapping[str, Any]) -> str:
    """Return the details of an entry in one line, such as `role: admin, team: sales`."""
    known = {name: value for name, value in detail.items() if value not in (None, [], "")}
    texts = {
        name.replace("_", " "): " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in known.items()
    }
    return ", ".join(f"{name}: {text}" for name, text in texts.items())
