"""The voices of barging supervisors."""

from typing import Any
from uuid import UUID

import pytest

from recorder import names
from recorder.recording.voices import hears_call, voice_channel, voice_channels
from storage.records import Heard, SpyRecord
from tests.legs import ZERO

ONE, OTHER = UUID(int=1), UUID(int=2)


def spy(id_: UUID = ONE, *, hears: bool = True, **more: Any) -> SpyRecord:
    """Return a live spy that barges on a phone; it heard the call before, and may hear it now."""
    now = (Heard(ZERO, None, "main-1.0"),) if hears else ()
    fields: dict[str, Any] = {
        "id": id_,
        "call_id": "main-1.0",
        "pbx": "main",
        "mode": "barge",
        "destination": "PJSIP/9001",
        "state": "live",
        "supervisor": "ann",
        "follow": "call",
        "started_at": ZERO,
        "may": ("barge",),
        "heard": (Heard(ZERO, ZERO, "main-1.0"), *now),
    }
    return SpyRecord(**(fields | more))


def test_the_voice_of_a_phone_and_of_a_page() -> None:
    """A phone carries the voice of its supervisor; for a page, its microphone channel does."""
    page = spy(OTHER, destination="browser")
    assert voice_channel(spy()) == names.build_phone_id(ONE)
    assert voice_channel(page) == names.build_microphone_id(OTHER)
    assert voice_channels([spy(), page]) == (
        names.build_phone_id(ONE),
        names.build_microphone_id(OTHER),
    )


@pytest.mark.parametrize(
    "silent",
    [
        spy(mode="listen"),
        spy(mode="whisper"),
        spy(state="ringing"),
        spy(state="ended"),
        spy(hears=False),
    ],
    ids=["listen", "whisper", "ringing", "ended", "not-connected"],
)
def test_only_live_barging_supervisors_have_a_voice(silent: SpyRecord) -> None:
    """Everybody hears a supervisor only while the spy is live, barges, and is connected."""
    assert voice_channels([silent]) == ()


def test_a_supervisor_hears_a_call_until_the_last_span_ends() -> None:
    """A supervisor is connected while the last span of hearing is open."""
    assert hears_call(spy())
    assert not hears_call(spy(hears=False))
    assert not hears_call(spy(heard=()))
