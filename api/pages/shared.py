"""The page of a shared recording, for the owner of a link, without signing in."""

from flask import Response, request
from flask_babel import gettext as _

from api.audio import Audio, send_waveform, stream_audio
from api.fields.recordings import recording_fields
from api.links import base_url
from api.operation import OPEN
from api.pages.page import Pages, show, show_notice
from api.services import services
from storage.actors import link_actor
from storage.catalogue import audit, links, recordings
from storage.catalogue.rights import Rights, find_rights
from storage.errors import AudioNotStored, NoSuchLink
from storage.permissions import RECORDINGS_HEAR, RECORDINGS_SHARE
from storage.records import LinkRecord, RecordingRecord

pages = Pages()


@pages.get("/shared/<secret>", OPEN, acts=True)
def show_shared(secret: str) -> Response:
    """Show the player without names or numbers, and audit the opening."""
    try:
        link, record = _find_shared(secret)
        Audio.of(record)
    except (NoSuchLink, AudioNotStored):
        text = _("It has expired or was revoked. Ask the sender for a new one.")
        return show_notice(_("This link is no longer valid"), text, 404)
    with services().catalogue.begin() as tx:
        links.note_opened(tx, link.id)
        audit.add_audit(
            tx,
            actor=link_actor(link.id),
            action="link.open",
            subject=str(record.id),
            outcome="done",
            detail={"address": request.remote_addr},
        )
    fields = recording_fields(record, base_url())
    return show("shared.html", link=link, recording=record, fields=fields, path=request.path)


@pages.get("/shared/<secret>/audio", OPEN)
def hear_shared(secret: str) -> Response:
    """Send the audio, also in ranges."""
    link, record = _find_shared(secret)
    catalogue, present = services().catalogue, services().rights

    def is_permitted() -> bool:
        with catalogue.begin() as tx:
            try:
                links.get_link(tx, secret)
            except NoSuchLink:
                return False
        return _may_share(present.find(link.owner_id) if link.owner_id else None, record)

    return stream_audio(
        Audio.of(record), download=False, by=link_actor(link.id), is_permitted=is_permitted
    )


@pages.get("/shared/<secret>/waveform", OPEN)
def draw_shared(secret: str) -> Response:
    """Send the waveform."""
    return send_waveform(Audio.of(_find_shared(secret)[1]))


def _find_shared(secret: str) -> tuple[LinkRecord, RecordingRecord]:
    """Return the link and its recording, which its maker must still be permitted to share.

    Raises NoSuchLink.
    """
    with services().catalogue.begin() as tx:
        link = links.get_link(tx, secret)
        record = recordings.get_recording(tx, link.recording_id)
        if not _may_share(find_rights(tx, link.owner_id), record):
            raise NoSuchLink("the maker of this link has lost the right to share the recording")
    return link, record


def _may_share(rights: Rights | None, record: RecordingRecord) -> bool:
    if rights is None or not rights.may(RECORDINGS_SHARE, RECORDINGS_HEAR):
        return False
    return rights.sees(record.agent)
