"""Names on the PBX are built and parsed in one place."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import names

ids = st.uuids()
moments = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(ids, ids, moments)
def test_recording_names_round_trip(recording: UUID, segment: UUID, at: datetime) -> None:
    """A name gives back the recording and the segment that it was made of."""
    name = names.build_recording_name(recording, segment, at)
    assert names.parse_recording_name(name) == names.SegmentName(recording, segment)


@given(ids)
def test_snoop_ids_round_trip(segment: UUID) -> None:
    """A snoop's id gives back its segment."""
    assert names.parse_snoop_id(names.build_snoop_id(segment)) == segment


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789.", min_size=1))
def test_call_ids_round_trip(linkedid: str) -> None:
    """A call's id gives back PBX and linkedid."""
    assert names.parse_call_id(names.build_call_id("main", linkedid)) == ("main", linkedid)


@pytest.mark.parametrize(
    "name", ["", "vm/2001/1", "earwitness/../x", "earwitness/2026-11-23/a.b", "1795424777.0"]
)
def test_names_of_others_are_not_ours(name: str) -> None:
    """What we did not name is left alone."""
    assert names.parse_recording_name(name) is None
    assert names.parse_snoop_id(name) is None


def test_a_recording_lies_in_a_directory_of_its_day() -> None:
    """Asterisk scans one directory for a fetch: a day's worth at most."""
    name = names.build_recording_name(UUID(int=1), UUID(int=2), datetime(2026, 11, 23, tzinfo=UTC))
    assert name.startswith("earwitness/2026-11-23/")
    assert name.count("/") == 2
