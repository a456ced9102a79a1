"""Everyone whom a recording hears, with the times of each. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from recorder.audio import Span
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


def list_parties(
    past: Past, timeline: Timeline, segments: Iterable[SegmentRecord], spies: Iterable[SpyRecord]
) -> tuple[RecordingParty, ...]:
    """Return the people of a recording in the order in which they came.

    A person is in it while in the conversation; one who was captured although in none, while
    captured. The legs of one person are one party. A barging supervisor is a party of his own.
    """
    placed: dict[str, list[SegmentRecord]] = {}
    for segment in segments:
        placed.setdefault(segment.channel_id, []).append(segment)
    found: dict[_Person, RecordingParty] = {}
    for call in past.calls.values():
        for leg in legs_of(call):
            mine = placed.get(leg.id, [])
            spans = timeline.presence.get(leg.id) or _spans_of(mine, timeline)
            if spans:
                _add(found, _party_of(leg, call, mine), leg.id, spans)
    by_id = {spy.id: spy for spy in spies}
    for channel_id, mine in placed.items():
        part = parse_spy_part(channel_id)
        spy = by_id.get(part.spy_id) if part is not None and part.spy_id is not None else None
        if spy is not None:
            _add(found, _supervisor(spy), str(spy.id), _spans_of(mine, timeline))
    return tuple(sorted(found.values(), key=lambda one: one.spans[0][0]))


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


def _add(
    found: dict[_Person, RecordingParty], party: RecordingParty, id_: str, spans: Iterable[Span]
) -> None:
    """Add a leg to its person: another leg may have added this person before."""
    person = party.party, party.number, party.agent, "" if party.number else id_
    known = found.get(person, party)
    times = [*known.spans, *((one.from_s, one.to_s) for one in spans)]
    merged = merge((from_s, to_s) for from_s, to_s in times if to_s is not None)
    rounded = tuple((round(from_s, 3), round(to_s, 3)) for from_s, to_s in merged)
    found[person] = replace(known, name=known.name or party.name, spans=rounded)


def _spans_of(segments: Iterable[SegmentRecord], timeline: Timeline) -> list[Span]:
    """Return the times of the files of one channel."""
    starts = (
        ((one.started_at - timeline.started_at).total_seconds(), placed_s(one)) for one in segments
    )
    return [Span(from_s, from_s + length_s) for from_s, length_s in starts if length_s > 0]
