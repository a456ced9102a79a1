"""Object keys: every key that we build can be parsed, and no other text."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objects.keys import ObjectKey, parse_key

RECORDING_ID = UUID("01932f3e-8b1a-7c4d-9e00-5a5a5a5a5a5a")

pbx_names = st.from_regex(r"[A-Za-z0-9._=-]{1,31}", fullmatch=True).filter(
    lambda name: name not in {".", ".."}
)
offsets = st.integers(-12 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(timezones=offsets).filter(lambda moment: 1 < moment.year < 9999)
extensions = st.sampled_from(["opus", "mp3", "flac", "wav", "json"])
keys = st.builds(ObjectKey.of, pbx_names, moments, st.uuids(), extensions)


@given(keys)
def test_a_key_that_is_built_parses_to_the_same_key(key: ObjectKey) -> None:
    """Parsing is the inverse of building, for every PBX name, time, zone and extension."""
    assert parse_key(str(key)) == key


@given(keys)
def test_a_key_is_made_of_the_characters_the_contract_allows(key: ObjectKey) -> None:
    """Five segments, each of letters, digits, dot, underscore, equals and dash."""
    segments = str(key).split("/")
    assert len(segments) == 5
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=-")
    assert all(segment and set(segment) <= allowed for segment in segments)


@given(st.text() | st.from_regex(r"[a-z.]{1,4}/\d{4}/\d\d/\d\d/[0-9a-fA-F-]{32,36}\.[a-z.]{1,5}"))
def test_a_parsed_key_builds_the_same_text(text: str) -> None:
    """A text that parses is the only spelling of its key."""
    try:
        key = parse_key(text)
    except ValueError:
        return
    assert str(key) == text


def test_the_date_is_the_utc_date_of_the_start() -> None:
    """A call after midnight in Tokyo is under the UTC date of its start."""
    tokyo = timezone(timedelta(hours=9))
    key = ObjectKey.of("main", datetime(2026, 3, 1, 1, 30, tzinfo=tokyo), RECORDING_ID, "opus")
    assert str(key) == f"main/2026/02/28/{RECORDING_ID}.opus"


def test_the_manifest_lies_beside_its_object() -> None:
    """The manifest's key differs from the object's in the extension alone."""
    key = ObjectKey.of("main", datetime(2026, 3, 1, tzinfo=UTC), RECORDING_ID, "flac")
    assert str(key.manifest) == f"main/2026/03/01/{RECORDING_ID}.json"
    assert key.manifest.is_manifest
    assert not key.is_manifest


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"main/2026/02/30/{RECORDING_ID}.opus",
        f"main/2026/3/1/{RECORDING_ID}.opus",
        f"../2026/03/01/{RECORDING_ID}.opus",
        f"ma in/2026/03/01/{RECORDING_ID}.opus",
        f"main/2026/03/01/{RECORDING_ID.hex}.opus",
        f"main/2026/03/01/{str(RECORDING_ID).upper()}.opus",
        f"main/2026/03/01/{RECORDING_ID}.tar.gz",
        f"main/2026/03/01/{RECORDING_ID}.opus\n",
        f"x/main/2026/03/01/{RECORDING_ID}.opus",
    ],
)
def test_a_foreign_key_is_refused(text: str) -> None:
    """A key that we would never build raises ValueError."""
    with pytest.raises(ValueError, match=r"key|month|day|extension|badly formed"):
        parse_key(text)


def test_a_naive_time_is_refused() -> None:
    """A time without a zone has no UTC date."""
    with pytest.raises(ValueError, match="aware"):
        ObjectKey.of("main", datetime(2026, 3, 1), RECORDING_ID, "opus")  # noqa: DTZ001
