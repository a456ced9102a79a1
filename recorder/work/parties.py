"""Everyone whom a recording hears, with the times and the track of each. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from recorder.audio import MOST_TRACKS, Span
from recorder.calls.legs import MEDIA, extension_of, legs_of
from recorder.calls.spans import merge
from recorder.names import parse_spy_part
from recorder.recording.presence import Past
from recorder.recording.voices import BROWSER
from recorder.work.fitting import placed_s
from recorder.work.timeline import Timeline
from storage.records import (
    CallRecord,
    LegRecord,
    RecordingParty,
    SegmentRecord,
    Side,
    SpyRecord,
)

# A person: the party, number and agent; the channel too where the number is unknown.
_Person = tuple[str, str | None, str | None, str]
_Times = tuple[float, float | None]
# One person's new leg may overlap the old one by so much, for example in a transfer.
SAME_PERSON_S = 1.0


@dataclass(frozen=True, slots=True)
class People:
    """The people of a recording in the order in which they came.

    `tracks` has the track of each captured channel; it is empty unless the layout is `tracks`.
    """

    parties: tuple[RecordingParty, ...]
    tracks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """A party, the moment of its first leg, and its captured channels."""

    party: RecordingParty
    came_at: datetime
    captured: tuple[str, ...] = ()


def find_people(
    past: Past, timeline: Timeline, segments: Iterable[SegmentRecord], spies: Iterable[SpyRecord]
) -> People:
    """Return the people of a recording, and the tracks of those who were captured.

    A person is in it while in the conversation; one who was captured although in none, while
    captured. The legs of one person are one party. A barging supervisor is a party of his own.
    """
    placed: dict[str, list[SegmentRecord]] = {}
    for segment in segments:
        placed.setdefault(segment.channel_id, []).append(segment)
    has_tracks = past.recording.layout == "tracks"
    found: dict[_Person, _Found] = {}
    for call in past.calls.values():
        for leg in legs_of(call):
            mine = placed.get(leg.id, [])
            spans = timeline.presence.get(leg.id) or _spans_of(mine, timeline)
            if spans:
                captured = (leg.id,) if mine else ()
                came = _Found(_party_of(leg, call, mine), leg.created_at, captured)
                _add(found, came, leg.id, spans, apart=has_tracks)
    by_id = {spy.id: spy for spy in spies}
    for channel_id, mine in placed.items():
        part = parse_spy_part(channel_id)
        spy = by_id.get(part.spy_id) if part is not None and part.spy_id is not None else None
        if spy is not None:
            came = _Found(_supervisor(spy), mine[0].started_at, (channel_id,))
            _add(found, came, str(spy.id), _spans_of(mine, timeline), apart=has_tracks)
    people = sorted(found.values(), key=lambda one: (one.party.spans[0][0], one.came_at))
    if not has_tracks:
        return People(tuple(one.party for one in people))
    return _give_tracks(people, placed)


def supervisors_of(segments: Iterable[SegmentRecord]) -> frozenset[UUID]:
    """Return the ids of the spies whose supervisors were captured."""
    parts = (parse_spy_part(segment.channel_id) for segment in segments)
    return frozenset(part.spy_id for part in parts if part is not None and part.spy_id is not None)


def _party_of(leg: LegRecord, call: CallRecord, mine: Sequence[SegmentRecord]) -> RecordingParty:
    side: Side = "left" if leg.party == "customer" else "right"
    side = mine[0].side if mine else side
    if leg.party == "customer":
        number, name = leg.number, leg.caller_name
        customers = [one for one in legs_of(call) if one.party == "customer"]
        if call.direction == "outbound" and len(customers) == 1:
            # The number that was dialled; the channel may show another after a redirect.
            number, name = call.callee_number or number, call.callee_name or name
        return RecordingParty("customer", number, name, side)
    if leg.name.partition("/")[0] in MEDIA:  # a program, such as a voice bot, has no extension
        return RecordingParty("agent", leg.number, leg.caller_name, side)
    agent = extension_of(leg)
    return RecordingParty("agent", leg.number or agent, leg.caller_name, side, agent=agent)


def _supervisor(spy: SpyRecord) -> RecordingParty:
    is_page = spy.destination == BROWSER
    number = None if is_page else spy.destination.rpartition("/")[2]
    return RecordingParty("supervisor", number, spy.supervisor, "both")


def _give_tracks(people: Iterable[_Found], placed: Iterable[str]) -> People:
    """Give a track to each captured person, in order, and one to each channel of nobody we know."""
    parties: list[RecordingParty] = []
    tracks: dict[str, int] = {}
    count = 0
    for one in people:
        track = min(count, MOST_TRACKS - 1) if one.captured else None
        count += track is not None
        parties.append(replace(one.party, track=track))
        tracks |= {channel_id: track for channel_id in one.captured if track is not None}
    for channel_id in placed:
        if channel_id not in tracks:
            tracks[channel_id] = min(count, MOST_TRACKS - 1)
            count += 1
    return People(tuple(parties), tracks)


def _add(
    found: dict[_Person, _Found], came: _Found, id_: str, spans: Iterable[Span], *, apart: bool
) -> None:
    """Add a leg to its person: another leg may have added this person before.

    With `apart`, two customers who show one number at the same time are two people, such as two
    guests who call from one company.
    """
    party = came.party
    times = [(one.from_s, one.to_s) for one in spans]
    person = party.party, party.number, party.agent, "" if party.number else id_
    if apart and party.party == "customer" and person in found:
        together_s = _shared_s(found[person].party.spans, times)
        if together_s > SAME_PERSON_S:
            person = party.party, party.number, party.agent, id_
    known = found.get(person, came)
    merged = merge(
        (from_s, to_s) for from_s, to_s in [*known.party.spans, *times] if to_s is not None
    )
    found[person] = _Found(
        replace(
            known.party,
            name=known.party.name or party.name,
            spans=tuple((round(from_s, 3), round(to_s, 3)) for from_s, to_s in merged),
        ),
        min(known.came_at, came.came_at),
        tuple(dict.fromkeys([*known.captured, *came.captured])),
    )


def _shared_s(ones: Iterable[_Times], others: Sequence[_Times]) -> float:
    """Return the seconds that lie in both."""
    return sum(
        max(0.0, min(one[1] or 0.0, other[1] or 0.0) - max(one[0], other[0]))
        for one in ones
        for other in others
    )


def _spans_of(segments: Iterable[SegmentRecord], timeline: Timeline) -> list[Span]:
    """Return the times of the files of one channel."""
    starts = (
        ((one.started_at - timeline.started_at).total_seconds(), placed_s(one)) for one in segments
    )
    return [Span(from_s, from_s + length_s) for from_s, length_s in starts if length_s > 0]
