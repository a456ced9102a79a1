"""The names that we give on a PBX, built and parsed."""

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
    """A name gives back its recording and its segment."""
    name = names.build_recording_name(recording, segment, at)
    assert names.parse_recording_name(name) == names.SegmentName(recording, segment)


@given(ids)
def test_snoop_ids_round_trip(segment: UUID) -> None:
    """A snoop's id gives back its segment."""
    assert names.parse_snoop_id(names.build_snoop_id(segment)) == segment


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_call_ids_round_trip(linkedid: str) -> None:
    """A call's id gives back PBX and linkedid."""
    assert names.parse_call_id(names.build_call_id("main", linkedid)) == ("main", linkedid)


INSTANCES = ("earwitness", "ear-2_b", "-")
CHANNEL_IDS = ("1795424777.0", "asterisk-1-1795424777.12", "a/b c", "a~b", "ü\n..")


PARTS_OF_A_SPY = {
    "phone": names.build_phone_id,
    "barge-channel": names.build_barge_channel_id,
    "talking-bridge": names.build_talking_bridge_id,
    "phone-snoop": names.build_phone_snoop_id,
    "microphone": names.build_microphone_id,
}
PARTS_OF_A_CHANNEL = {
    "listening-bridge": names.build_listening_bridge_id,
    "listening-snoop": lambda instance, channel: names.build_listening_snoop_id(
        instance, channel, ("b", "a")
    ),
    "listening-channel": names.build_listening_channel_id,
}
PARTS_OF_A_METER = {
    "meter-bridge": names.build_meter_bridge_id,
    "meter-snoop": names.build_meter_snoop_id,
    "meter-channel": names.build_meter_channel_id,
}


@given(ids, st.sampled_from(CHANNEL_IDS), st.sampled_from(INSTANCES))
def test_the_parts_of_spies_round_trip(spy: UUID, channel: str, instance: str) -> None:
    """The id of each part gives back the kind, and the spy or the instance and its channel."""
    for kind, build in PARTS_OF_A_SPY.items():
        assert names.parse_spy_part(build(spy)) == names.SpyPart(kind, spy)  # type: ignore[arg-type]
    for kind, build_for in PARTS_OF_A_CHANNEL.items():
        part = names.SpyPart(kind, None, channel, instance)  # type: ignore[arg-type]
        assert names.parse_spy_part(build_for(instance, channel)) == part
    for kind, build_way in PARTS_OF_A_METER.items():
        for way in names.WAYS:
            part = names.SpyPart(kind, None, channel, instance)  # type: ignore[arg-type]
            assert names.parse_spy_part(build_way(instance, way, channel)) == part
    talking = names.build_talking_snoop_id(instance, spy, channel, (channel,))
    assert names.parse_spy_part(talking) == names.SpyPart("talking-snoop", spy, channel, instance)
    assert names.is_ours(talking)


@given(ids)
def test_the_snoop_of_a_segment_is_no_part_of_a_spy(segment: UUID) -> None:
    """The snoops of recordings are ours, but the cleaning up of spies leaves them."""
    assert names.is_ours(names.build_snoop_id(segment))
    assert names.parse_spy_part(names.build_snoop_id(segment)) is None


@pytest.mark.parametrize(
    "name", ["", "vm/2001/1", "earwitness/../x", "earwitness/2026-11-23/a.b", "1795424777.0"]
)
def test_names_of_others_are_not_ours(name: str) -> None:
    """A name that we did not build is parsed as none of ours."""
    assert names.parse_recording_name(name) is None
    assert names.parse_snoop_id(name) is None
    assert names.parse_spy_part(name) is None


def test_a_recording_lies_in_a_directory_of_its_day() -> None:
    """Each day has its own directory, because Asterisk scans a directory for each fetch."""
    name = names.build_recording_name(UUID(int=1), UUID(int=2), datetime(2026, 11, 23, tzinfo=UTC))
    assert name.startswith("earwitness/2026-11-23/")
    assert name.count("/") == 2
