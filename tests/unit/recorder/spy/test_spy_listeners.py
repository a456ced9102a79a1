"""A supervisor on a phone, and a supervisor in a web page."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from recorder import names
from recorder.spy.listeners import PageListener, PhoneListener, listener_of
from storage.records import SpyRecord
from tests.fake_pbx import INSTANCE
from tests.legs import ZERO
from tests.spies import SPY_ID, spy

PHONE = names.build_phone_id(SPY_ID)
MICROPHONE = names.build_microphone_id(SPY_ID)


def page(**changes: Any) -> SpyRecord:
    return spy(destination="browser", **changes)


def after(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def channels(**states: str) -> Any:
    """Return a lookup of channels in these states, with the phone under `phone`."""
    found = {PHONE: states.get("phone"), MICROPHONE: states.get("microphone")}
    return lambda id_: SimpleNamespace(state=found[id_]) if found.get(id_) else None


def test_the_destination_decides() -> None:
    """`browser` is a page, and everything else a phone."""
    assert isinstance(listener_of(page()), PageListener)
    assert isinstance(listener_of(spy()), PhoneListener)


def test_a_phone_is_one_channel() -> None:
    """The phone hears and talks, and its voice reaches the talking bridge by a snoop."""
    listener = listener_of(spy())
    assert listener.supervisor_channel == listener.voice_channel == PHONE
    assert listener.listening_channel(INSTANCE, "agent") == PHONE
    assert listener.talking_channel == names.build_phone_snoop_id(SPY_ID)
    assert (listener.is_loud, listener.has_meters) == (True, False)
    assert all(listener_of(spy(mode=mode)).joins_listeners() for mode in ("listen", "barge"))


def test_a_page_has_three_channels() -> None:
    """It hears by the shared channel, talks by its microphone, and barges by its own channel."""
    listener = listener_of(page())
    assert listener.listening_channel(INSTANCE, "agent") == names.build_listening_channel_id(
        INSTANCE, "agent"
    )
    assert listener.voice_channel == listener.talking_channel == MICROPHONE
    assert listener.supervisor_channel == names.build_barge_channel_id(SPY_ID)
    assert (listener.is_loud, listener.has_meters) == (False, True)
    joins = {mode: listener_of(page(mode=mode)).joins_listeners() for mode in spy().may}
    assert joins == {"listen": False, "whisper": False, "barge": True}


@pytest.mark.parametrize(("state", "present"), [("Up", True), ("Ringing", False), ("", False)])
def test_a_phone_is_present_once_answered(state: str, present: bool) -> None:
    """A phone that rings, or is gone, does not listen."""
    assert listener_of(spy()).is_present(channels(phone=state)) is present


def test_a_page_is_present_once_connected() -> None:
    """A page that has never connected does not listen."""
    assert not listener_of(page()).is_present(channels())
    assert listener_of(page(seen_at=ZERO)).is_present(channels())


def test_a_voice_needs_a_right_or_a_microphone() -> None:
    """The voice of a phone stands ready if its supervisor may ever talk; a page opens its own."""
    assert listener_of(spy()).may_speak(channels())
    assert listener_of(spy(may=("listen", "barge"))).may_speak(channels())
    assert not listener_of(spy(may=("listen",))).may_speak(channels())
    assert listener_of(page()).may_speak(channels(microphone="Up"))
    assert not listener_of(page()).may_speak(channels())


def test_a_page_hears_until_a_moment_after_it_was_seen() -> None:
    """A page that was not seen for 12 s hears nothing; a phone hears until it hangs up."""
    assert listener_of(page(seen_at=ZERO)).hears_at(after(11.9))
    assert not listener_of(page(seen_at=ZERO)).hears_at(after(12))
    assert not listener_of(page()).hears_at(ZERO)
    assert listener_of(spy()).hears_at(after(9999))


@pytest.mark.parametrize(
    ("state", "seconds", "phone", "cause"),
    [
        ("requested", 9.9, "", None),
        ("requested", 10, "", "never-rang"),
        ("ringing", 10, "", "no-answer"),
        ("live", 10, "", "hung-up"),
        ("live", 10, "Up", None),
        ("ringing", 10, "Ringing", None),
    ],
)
def test_a_lost_phone(state: str, seconds: float, phone: str, cause: str | None) -> None:
    """A phone without a channel is lost, once it had ten seconds to get one."""
    listener = listener_of(spy(state=state))
    assert listener.find_loss(channels(phone=phone), after(seconds)) == cause


@pytest.mark.parametrize(
    ("seen_s", "seconds", "cause"),
    [
        (None, 60, None),
        (None, 60.1, "never-opened"),
        (100, 130, None),
        (100, 130.1, "page-lost"),
    ],
)
def test_a_lost_page(seen_s: float | None, seconds: float, cause: str | None) -> None:
    """A page has 60 s to connect, and 30 s to come back."""
    seen_at = None if seen_s is None else after(seen_s)
    assert listener_of(page(seen_at=seen_at)).find_loss(channels(), after(seconds)) == cause
