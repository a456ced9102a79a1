"""The two ways in which a supervisor listens: on a phone, or in a web page. Pure.

A phone is one channel: it hears the call and carries the voice. A page shares one listening channel
with all other pages, and its voice has a microphone channel. While the page barges, it has its own
channel in the listening bridge, on which it hears everybody but itself.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from recorder import names
from recorder.ari import Channel
from recorder.recording.voices import BROWSER
from storage.records import SpyRecord

FindChannel = Callable[[str], Channel | None]

# For this long after its start a phone's spy may have no channel: its process may have died before.
STARTS_WITHIN = timedelta(seconds=10)
# For this long a page may be away, and this long it may take to connect at all.
PAGE_AWAY = timedelta(seconds=30)
PAGE_COMES_WITHIN = timedelta(seconds=60)
# The row of a connected page is touched every 5 s.
PAGE_IS_HERE = timedelta(seconds=12)


class Listener(Protocol):
    """A supervisor's side of one spy."""

    spy: SpyRecord
    supervisor_channel: str
    """The supervisor's own channel in the listening bridge: the phone, or a barging page's."""
    voice_channel: str
    """The channel that carries the voice to the PBX."""
    talking_channel: str
    """The channel that carries the voice into the talking bridge."""
    is_loud: bool
    """Whether the voice would sound in the listening bridge unless it is turned down."""
    has_meters: bool
    """Whether the levels of both sides can be shown to the supervisor."""
    rests_in_silence: bool
    """Whether the supervisor's own channel needs silence and a tone while it hears no call."""

    def listening_channel(self, instance: str, target: str) -> str:
        """Return the channel through which the supervisor hears the target."""

    def joins_listeners(self) -> bool:
        """Whether the supervisor's own channel belongs into the listening bridge now."""

    def is_present(self, find_channel: FindChannel) -> bool:
        """Whether the phone was answered, or the page has connected."""

    def may_speak(self, find_channel: FindChannel) -> bool:
        """Whether the voice can be carried into the talking bridge now."""

    def hears_at(self, now: datetime) -> bool:
        """Whether audio of the call still reaches the supervisor."""

    def find_loss(self, find_channel: FindChannel, now: datetime) -> str | None:
        """Return why the supervisor is gone although no event said so; None while present."""


def listener_of(spy: SpyRecord) -> "Listener":
    """Return the supervisor's side of a spy."""
    return PageListener(spy) if spy.destination == BROWSER else PhoneListener(spy)


class PhoneListener:
    """A supervisor on a phone."""

    is_loud, has_meters, rests_in_silence = True, False, True

    def __init__(self, spy: SpyRecord) -> None:
        self.spy = spy
        self.supervisor_channel = self.voice_channel = names.build_phone_id(spy.id)
        self.talking_channel = names.build_phone_snoop_id(spy.id)

    def listening_channel(self, instance: str, target: str) -> str:
        """Return the phone, whatever the target."""
        return self.supervisor_channel

    def joins_listeners(self) -> bool:
        """Return True: a phone hears the call in the listening bridge in every mode."""
        return True

    def is_present(self, find_channel: FindChannel) -> bool:
        """Whether the phone was answered."""
        phone = find_channel(self.supervisor_channel)
        return phone is not None and phone.state == "Up"

    def may_speak(self, find_channel: FindChannel) -> bool:
        """Whether the supervisor may ever talk; the voice then stands ready in its bridge."""
        return any(mode != "listen" for mode in self.spy.may)

    def hears_at(self, now: datetime) -> bool:
        """Return True: a phone hears until it hangs up."""
        return True

    def find_loss(self, find_channel: FindChannel, now: datetime) -> str | None:
        """Return why the phone is gone although no event said so; None while it exists."""
        if now - self.spy.started_at < STARTS_WITHIN:
            return None
        if find_channel(self.supervisor_channel) is not None:
            return None
        return {"live": "hung-up", "ringing": "no-answer"}.get(self.spy.state, "never-rang")


class PageListener:
    """A supervisor in a web page."""

    is_loud, has_meters, rests_in_silence = False, True, False

    def __init__(self, spy: SpyRecord) -> None:
        self.spy = spy
        self.supervisor_channel = names.build_barge_channel_id(spy.id)
        self.voice_channel = self.talking_channel = names.build_microphone_id(spy.id)

    def listening_channel(self, instance: str, target: str) -> str:
        """Return the listening channel that all pages share."""
        return names.build_listening_channel_id(instance, target)

    def joins_listeners(self) -> bool:
        """Whether the page barges."""
        return self.spy.mode == "barge"

    def is_present(self, find_channel: FindChannel) -> bool:
        """Whether the page has connected."""
        return self.spy.seen_at is not None

    def may_speak(self, find_channel: FindChannel) -> bool:
        """Whether the page has opened its microphone."""
        return find_channel(self.voice_channel) is not None

    def hears_at(self, now: datetime) -> bool:
        """Whether the page was connected a moment ago."""
        return self.spy.seen_at is not None and now - self.spy.seen_at < PAGE_IS_HERE

    def find_loss(self, find_channel: FindChannel, now: datetime) -> str | None:
        """Return why no page is there; None while it may still come, or come back."""
        if self.spy.seen_at is None:
            return "never-opened" if now - self.spy.started_at > PAGE_COMES_WITHIN else None
        return "page-lost" if now - self.spy.seen_at > PAGE_AWAY else None
