"""The gate before every capture: the scene of a call, with decisions as new as the call itself.

A call may have changed an instant ago, for example by a transfer to an agent under a rule `never`.
Whoever settles a recording then must not act on the older decision. The row of a call says when a
fact of it changed, and the row of a decision, for which change it was made. So this process
evaluates the rules itself where the watcher has not done so yet.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from recorder.ari.pbxs import Pbxs
from recorder.calls.legs import is_over
from recorder.names import parse_conference_bridge_id
from recorder.recording.coverage import Scene
from recorder.recording.fact_reader import FactReader
from recorder.recording.terms import apply_terms
from recorder.rules import Decision, RuleSet
from recorder.rules.book import RuleBook
from storage import states
from storage.catalogue import calls, decisions, pauses, quiet, recordings, segments, terms
from storage.catalogue.engine import Catalogue
from storage.records import CallRecord, DecisionRecord, LegRecord, RecordingRecord


class Gate:
    """Reads scenes. Without a `book` no rule forbids anything, so every decision is new enough."""

    def __init__(self, catalogue: Catalogue, pbxs: Pbxs, book: RuleBook | None = None) -> None:
        self._catalogue = catalogue
        self._pbxs = pbxs
        self._book = book
        self._readers = {name: FactReader(catalogue, ari) for name, ari in pbxs.items()}

    def read_scene(self, call_id: str) -> Scene:
        """Return the scene of a call now. Raises NoSuchCall, PbxUnavailable."""
        with self._catalogue.begin() as tx:
            scene = read_scene(tx, call_id)
        stale = [one for one in scene.calls.values() if _is_stale(one, scene.decisions)]
        if self._book is None or not stale or not self._book.current().forbids:
            return scene
        fresh = self._evaluate(self._book.current(), stale)
        return replace(scene, decisions={**scene.decisions, **fresh})

    def _evaluate(self, rules: RuleSet, stale: list[CallRecord]) -> Mapping[str, DecisionRecord]:
        found = {}
        with self._catalogue.begin() as tx:
            asked_for = terms.find_terms(tx, [call.id for call in stale])
        for call in stale:
            reader = self._readers.get(call.pbx)
            if reader is None:
                continue
            with self._pbxs.reach(call.pbx):
                reader.read_teams({call.agent} if call.agent else ())
                facts = reader.read(call, rules, None)
            decision = apply_terms(rules.decide(facts, call.id), asked_for.get(call.id), facts)
            found[call.id] = DecisionRecord(
                call.id, moments=(), as_of=call.changed_at, **summary_of(decision)
            )
        return found


def read_scene(tx: Connection, call_id: str) -> Scene:
    """Return the scene of a call as the catalogue has it. Raises NoSuchCall."""
    found = calls.list_joined(tx, call_id)
    home = found[call_id]
    if is_over(home):
        # Its recording may go on with people of other calls.
        for met in calls.find_calls(tx, home.met).values():
            if not is_over(met) and met.id not in found:
                found |= calls.list_joined(tx, met.id)
    # A recording may hear these people although its own call is over. But after a split the
    # recording of a live call goes with that call, even while it still captures these people.
    near = found.keys() | {id_ for one in found.values() for id_ in one.met}
    live = recordings.list_recordings_of_calls(tx, near, in_states=states.LIVE)
    elsewhere = {one.call_id for one in live} - found.keys()
    homes = found | (calls.find_calls(tx, elsewhere) if elsewhere else {})
    adrift = [one.id for one in live if one.call_id not in homes or is_over(homes[one.call_id])]
    stopped = recordings.map_stopped_by_person(tx, near)
    heard = segments.map_captured(tx, stopped, running=False).values() if stopped else ()
    silenced = {id_ for ids in heard for id_ in ids}
    channels = {leg.id: one.id for one in found.values() for leg in one.channels}
    alive = [leg.id for one in found.values() for leg in one.channels if leg.alive]
    conferring = [leg.id for one in found.values() for leg in one.channels if _confers(leg)]
    return Scene(
        calls=found,
        decisions={
            one.call_id: one for one in decisions.list_decisions(tx, found, with_moments=False)
        },
        recordings=live,
        pauses=pauses.list_open_pauses(tx, home.pbx, alive),
        captured=segments.map_captured(tx, adrift, running=True) if adrift else {},
        stopped=frozenset(stopped.values()) | {channels[id_] for id_ in silenced & channels.keys()},
        quiet=quiet.find_quiet(tx, home.pbx, conferring) if conferring else frozenset(),
    )


def read_live_scenes(tx: Connection, pbx: str) -> tuple[Scene, ...]:
    """Return the scenes of all live recordings of a PBX, as the catalogue has them.

    It costs a few queries, however many recordings live. `stopped` is left out: only a start needs
    it.
    """
    live = recordings.list_live_recordings(tx, pbx)
    found = calls.find_calls(tx, {one.call_id for one in live})
    # The recording of a call that is over may go on with people of other calls.
    missing = {id_ for one in found.values() for id_ in (one.met if is_over(one) else one.joined)}
    while missing := missing - found.keys():
        new = calls.find_calls(tx, missing)
        found |= new
        missing = {id_ for one in new.values() for id_ in one.joined} if new else set()
    decided = {one.call_id: one for one in decisions.list_decisions(tx, found, with_moments=False)}
    of_call: dict[str, list[RecordingRecord]] = {}
    for one in live:
        of_call.setdefault(one.call_id, []).append(one)
    open_pauses = pauses.list_open_pauses(tx, pbx)
    quiet_channels = quiet.list_quiet(tx, pbx)
    adrift = [one.id for one in live if is_over(found[one.call_id])]
    captured = segments.map_captured(tx, adrift, running=True) if adrift else {}
    return tuple(
        Scene(
            calls={id_: found[id_] for id_ in call_ids},
            decisions={id_: decided[id_] for id_ in call_ids if id_ in decided},
            recordings=tuple(one for id_ in call_ids for one in of_call.get(id_, ())),
            pauses=open_pauses,
            captured=captured,
            quiet=quiet_channels,
        )
        for call_ids in _group_joined(found.values())
    )


def _group_joined(found: Iterable[CallRecord]) -> Collection[frozenset[str]]:
    """Return the ids of these calls in groups: calls that are joined, or have met, together."""
    by_id = {one.id: one for one in found}
    near: dict[str, set[str]] = {id_: set() for id_ in by_id}
    for one in by_id.values():
        for other in one.met if is_over(one) else one.joined:
            if other in by_id:
                near[one.id].add(other)
                near[other].add(one.id)
    groups: list[frozenset[str]] = []
    seen: set[str] = set()
    for first in by_id:
        if first in seen:
            continue
        group, waiting = {first}, [first]
        while waiting:
            new = near[waiting.pop()] - group
            group |= new
            waiting += new
        seen |= group
        groups.append(frozenset(group))
    return groups


def summary_of(decision: Decision) -> dict[str, Any]:
    """Return the action, the rule and the reason, as the catalogue keeps them."""
    rule = decision.rule
    kept = None
    if rule is not None:
        kept = {name: getattr(rule, name) for name in ("id", "version", "name", "priority")}
    return {"action": decision.action, "rule": kept, "reason": decision.reason}


def _confers(leg: LegRecord) -> bool:
    """Whether a live channel is, or was, in a conference of ours."""
    return leg.alive and any(parse_conference_bridge_id(stay.bridge_id) for stay in leg.stays)


def _is_stale(call: CallRecord, known: Mapping[str, DecisionRecord]) -> bool:
    """Whether a fact of a live call has changed since the decision about it."""
    decision = known.get(call.id)
    if is_over(call):
        return False
    if decision is None or decision.as_of is None:
        return decision is None
    return call.changed_at is not None and call.changed_at > decision.as_of
