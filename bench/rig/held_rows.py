"""The rows of the conferences that the simulated PBX holds (`bench/rig/held.py`)."""

import threading
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import requests

from bench.rig.held import HELD_MEMBERS, conference_id, member_id, person_channel
from recorder import names
from recorder.background import running_in_background
from recorder.recording.terms import CONFERENCE
from storage.catalogue import conferences, terms
from storage.catalogue.engine import Catalogue
from storage.records import ConferenceRecord, MemberRecord, MemberState, RuleTerms

PBX = "main"
JOIN_EVERY_S = 0.2


def seed_conference(catalogue: Catalogue, number: int) -> None:
    """Write the row of a conference, and those of the members who are in at the start."""
    record = ConferenceRecord(
        conference_id(number), PBX, f"held-{number}", "open", "bench", datetime.now(UTC), True
    )
    with catalogue.begin() as tx:
        conferences.create_conference(tx, record)
    for one in range(HELD_MEMBERS):
        seed_member(catalogue, number, one, "in")


def seed_member(catalogue: Catalogue, number: int, member: int, state: MemberState) -> None:
    """Write the row of a member whom we dial, and the terms of recording of his call."""
    channel_id, now = person_channel(number, member), datetime.now(UTC)
    record = MemberRecord(
        id=member_id(number, member),
        conference_id=conference_id(number),
        state=state,
        role="member",
        requested_at=now,
        channel_id=channel_id,
        call_id=names.build_call_id(PBX, channel_id),
        destination="PJSIP/20001",
        joined_at=now if state == "in" else None,
    )
    with catalogue.begin() as tx:
        conferences.create_member(tx, record)
        terms.set_terms(
            tx, record.call_id, CONFERENCE, RuleTerms(name="conference", action="record")
        )


def joining(url: str, catalogue: Catalogue, held: int) -> AbstractContextManager[None]:
    """Let members of the conferences come and go while this context lasts."""

    def join(over: threading.Event) -> None:
        turn = 0
        while held and not over.wait(JOIN_EVERY_S):
            number, member = turn % held, HELD_MEMBERS + turn // held
            seed_member(catalogue, number, member, "requested")
            requests.post(f"{url}/join?conference={number}&member={member}", timeout=5)
            turn += 1

    return running_in_background(join, "joining", join_s=10.0)
