"""The channels that carry the voices of barging supervisors. Pure."""

from collections.abc import Iterable

from recorder import names
from storage.records import SpyRecord

# The destination of a spy whose supervisor listens in a web page.
BROWSER = "browser"


def voice_channels(spies: Iterable[SpyRecord]) -> tuple[str, ...]:
    """Return the channels of the supervisors whom everybody in the call hears now."""
    barging = (spy for spy in spies if spy.state == "live" and spy.mode == "barge")
    return tuple(voice_channel(spy) for spy in barging if hears_call(spy))


def voice_channel(spy: SpyRecord) -> str:
    """Return the id of the channel that carries the supervisor's voice to the PBX."""
    is_page = spy.destination == BROWSER
    return names.build_microphone_id(spy.id) if is_page else names.build_phone_id(spy.id)


def hears_call(spy: SpyRecord) -> bool:
    """Whether the supervisor is connected to the audio of a call now."""
    return bool(spy.heard) and spy.heard[-1].to_at is None
