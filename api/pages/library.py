"""The pages of the library: the list of recordings, and one recording."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from flask import Response
from flask_babel import gettext as _
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from api.auth import principal
from api.fields.recordings import FormSearch, RecordingSearch, recording_fields
from api.links import base_url
from api.pages.audit import actor_kinds
from api.pages.journey import What, journey_of
from api.pages.page import Pages, form_fields, show, show_notice, wants_next_part
from api.routes.recordings import get_visible, narrow
from api.services import services
from storage.catalogue import audit, bulks, calls, decisions, links, recordings, searches
from storage.catalogue.agents import find_display_names
from storage.catalogue.recordings import RecordingFilter
from storage.errors import BadCursor, NoSuchRecording
from storage.permissions import AUDIT_READ, BULK_ACTIONS, RECORDINGS_READ, RECORDINGS_SHARE
from storage.records import BulkAction, RecordingRecord, Slice, Speaker

pages = Pages()

AT_ONCE = 50
BULKS_SHOWN = 3


def _zone(value: object) -> object:
    try:
        return ZoneInfo(str(value)) if value else ZoneInfo("UTC")
    except (ValueError, OSError, KeyError) as error:
        raise ValueError("unknown time zone") from error


# The day before and the day after must exist, in every time zone.
Day = Annotated[date, Field(gt=date.min, lt=date.max)]


class LibraryForm(FormSearch):
    """The fields of the form; an empty field filters nothing."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)

    from_day: Day | None = Field(None, alias="from")
    to_day: Day | None = Field(None, alias="to")
    zone: Annotated[Any, BeforeValidator(_zone)] = ZoneInfo("UTC")
    cursor: str | None = None

    def narrowed(self) -> RecordingFilter:
        """Return the filter; days are in the viewer's time zone, and the last day is included."""
        fields = self.model_dump(exclude={"from_day", "to_day", "zone", "cursor"})
        from_at = self._begin_of(self.from_day)
        to_at = self._begin_of(self.to_day, after=timedelta(days=1))
        return narrow({**fields, "from_at": from_at, "to_at": to_at})

    def for_api(self) -> dict[str, Any]:
        """Return the same search as parameters of the API."""
        narrowed = self.narrowed()
        fields = {name: getattr(narrowed, name) for name in RecordingSearch.model_fields}
        return RecordingSearch.model_construct(**fields).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )

    def _begin_of(self, day: date | None, after: timedelta = timedelta()) -> datetime | None:
        if day is None:
            return None
        return datetime.combine(day + after, time(), self.zone).astimezone(UTC)


@pages.get("/library", RECORDINGS_READ)
def show_library() -> Response:
    """Show the list of recordings and its form; the address holds the search."""
    form = form_fields()
    found: Slice[RecordingRecord] = Slice((), None)
    faults: list[tuple[str, str]] = []
    try:
        search = LibraryForm.model_validate(form)
        with services().catalogue.begin() as tx:
            found = recordings.list_recordings(
                tx, search.narrowed(), limit=AT_ONCE, cursor=search.cursor
            )
    except ValidationError as error:
        day, seconds = _("Write a day such as 2026-11-23."), _("Write a number, 0 or more.")
        other = _("This search is not possible. Clear the fields, or start again.")
        corrections = {
            "number": _("Write at most 32 digits, * or #."),
            "from": day,
            "to": day,
            "min_duration_s": seconds,
            "max_duration_s": seconds,
            "state": _("Choose one from the list."),
        }
        fields = [str(fault["loc"][0]) for fault in error.errors()]
        labels = _labels()
        faults = [(labels.get(one, ""), corrections.get(one, other)) for one in fields]
    except BadCursor:
        faults = [("", _("This list cannot be continued. Search again."))]
    values: dict[str, Any] = {"found": found, "form": form, "faults": faults, "states": _states()}
    with services().catalogue.begin() as tx:
        agents = {one.agent for one in found.items if one.agent is not None}
        values["names"] = find_display_names(tx, agents)
    values["labels"] = _labels()
    # The action, its button, and the label of its field, if any.
    acts: list[tuple[BulkAction, str, str]] = [
        ("tag", _("Tag"), _("Tags, separated by commas")),
        ("hold", _("Hold"), _("Reason for the hold")),
        ("export", _("Export"), ""),
    ]
    values["acts"] = [act for act in acts if BULK_ACTIONS[act[0]] <= principal().permissions]
    if wants_next_part() and not faults:
        return show("_recordings.html", **values)
    with services().catalogue.begin() as tx:
        saved = searches.list_searches(tx, principal().id).items
        own_bulks = bulks.list_bulks(tx, owner_id=principal().id, limit=BULKS_SHOWN).items
    searched = {name: value for name, value in form.items() if name != "cursor"}
    return show(
        "library.html",
        narrowed=bool(searched.keys() - {"zone"}),
        searched=searched,
        api_search=search.for_api() if not faults else {},
        searches=saved,
        bulks=own_bulks,
        **values,
    )


@pages.get("/recordings/<uuid:recording_id>", RECORDINGS_READ)
def show_recording(recording_id: UUID) -> Response:
    """Show one recording: the player and all its data."""
    try:
        record = get_visible(recording_id)
    except NoSuchRecording:
        text = _("Look for it in the library; it may belong to another team.")
        way = ("/library", _("Library"))
        return show_notice(_("There is no such recording"), text, 404, way=way)
    with services().catalogue.begin() as tx:
        call = calls.find_call(tx, record.call_id)
        said = decisions.find_decision(tx, record.call_id)
        may = principal().permissions
        heard = audit.list_heard(tx, record.id, limit=AT_ONCE) if AUDIT_READ in may else ()
        shared = links.list_links(tx, record.id).items if RECORDINGS_SHARE in may else ()
    steps: dict[What, str] = {
        "rings": _("rings"),
        "answered": _("is answered"),
        "joins": _("joins"),
        "holds": _("puts the call on hold"),
        "unholds": _("resumes the call"),
        "transfers": _("transfers the call to"),
        "leaves": _("leaves"),
        "ended": _("ends"),
    }
    speakers: dict[Speaker, str] = {
        "customer": _("Customer"),
        "agent": _("Agent"),
        "supervisor": _("Supervisor"),
    }
    return show(
        "recording.html",
        speakers=speakers,
        remarks=principal().reads_remarks,
        heard=heard,
        kinds=actor_kinds(),
        links=shared,
        now=datetime.now(UTC),
        recording=record,
        fields=recording_fields(record, base_url()),
        journey=journey_of(call) if call is not None else (),
        steps=steps,
        decision=said,
        states=_states(),
    )


def _labels() -> dict[str, str]:
    """Return the labels of the form's fields."""
    return {
        "number": _("Number, or its last digits"),
        "agent": _("Agent"),
        "queue": _("Queue"),
        "from": _("From"),
        "to": _("To"),
        "min_duration_s": _("Longer than, in seconds"),
        "max_duration_s": _("Shorter than, in seconds"),
        "tag": _("Tag"),
        "q": _("Words in note or names") if principal().reads_remarks else _("Words in names"),
        "state": _("State"),
    }


def _states() -> dict[str, str]:
    """Return the words for the states of a recording."""
    return {
        "requested": _("starting"),
        "recording": _("recording"),
        "paused": _("paused"),
        "captured": _("being stored"),
        "stored": _("stored"),
        "purged": _("purged"),
        "aborted": _("never began"),
        "discarded": _("discarded"),
        "failed": _("failed"),
    }
