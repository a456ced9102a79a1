"""The channels that carry the voices of barging supervisors. Pure."""

from collections.abc import Iterable

from recorder import names
from storage.records import SpyRecord

# The destination of a spy whose supervisor listens in a web page.
BROWSER = "browser"


def voice_channels(spies: Iterable[SpyRecord]) -> tuple[str, ...]:
    """The channels that carry the voice of supervisors whom everybody hears now."""
    heard = (
        spy for spy in spies if spy.state == "live" and spy.mode == "barge" and hears_call(spy)
    )
    return tuple(voice_channel(spy) for spy in heard)


def voice_channel(spy: SpyRecord) -> str:
    """The channel that carries the supervisor's voice to the PBX."""
    is_page = spy.destination == BROWSER
    return names.build_microphone_id(spy.id) if is_page else names.build_phone_id(spy.id)


def hears_call(spy: SpyRecord) -> bool:
    """Whether the supervisor is attached to a call's audio."""
    return bool(spy.heard) and spy.heard[-1].to_at is None
