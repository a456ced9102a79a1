"""Messages of a page that nobody can trust."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.media.messages import cut_frames, parse_object

FRAME = 640
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary(max_size=3 * FRAME))
def test_only_whole_frames_are_cut(message: bytes) -> None:
    """A message of any other length has no frames, so that no later sample is shifted."""
    frames = cut_frames(message)
    if not message or len(message) % FRAME:
        assert frames is None
    else:
        assert frames is not None
        assert b"".join(frames) == message
        assert {len(one) for one in frames} == {FRAME}


@pytest.mark.parametrize(("size", "count"), [(640, 1), (1280, 2), (10_240, 16)])
def test_whole_frames(size: int, count: int) -> None:
    """A message may hold several frames."""
    assert len(cut_frames(bytes(size)) or ()) == count


@pytest.mark.parametrize("size", [0, 1, 639, 641, 1279])
def test_a_part_of_a_frame(size: int) -> None:
    """A message with a part of a frame is malformed, an empty one too."""
    assert cut_frames(bytes(size)) is None


@given(st.text() | JSON.map(json.dumps))
def test_any_text_is_read_without_an_error(message: str) -> None:
    """A text is either a JSON object or nothing."""
    fields = parse_object(message)
    assert fields is None or isinstance(fields, dict)


@pytest.mark.parametrize(
    "message",
    [
        "[" * 10_000,
        '{"a":' * 10_000,
        '{"a": ' + "[" * 5_000 + "]" * 5_000 + "}",
        "[]",
        "null",
        '"levels"',
        "1" * 5_000,
        "",
        '{"type"',
    ],
    ids=lambda text: text[:8],
)
def test_a_text_that_is_no_object(message: str) -> None:
    """Neither depth nor size of a text raises an error."""
    assert parse_object(message) is None


def test_an_object() -> None:
    """The fields of an object are returned as they are."""
    assert parse_object('{"type": "mode", "mode": "barge"}') == {"type": "mode", "mode": "barge"}
