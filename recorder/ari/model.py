"""ARI's values and events, frozen, and the pure functions that read them from JSON.

Source: the REST description that Asterisk ships (`rest-api/*.json`). Unknown fields pass, unknown
events become `OtherEvent`; a needed field that is missing or of another type raises
`AriProtocolError`, which names the value and the field.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from recorder.ari.errors import AriProtocolError

_Value = TypeVar("_Value")

# ------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Party:
    """Number and name on one side of a channel; "" where Asterisk knows none."""

    number: str
    name: str


@dataclass(frozen=True, slots=True)
class Dialplan:
    """Where in the dialplan a channel is; `app_name` and `app_data` are "" between applications."""

    context: str
    exten: str
    app_name: str
    app_data: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as it was when Asterisk wrote this; `variables` are `channelvars` of ari.conf."""

    id: str
    name: str
    state: str
    caller: Party
    connected: Party
    dialplan: Dialplan
    created_at: datetime
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def endpoint(self) -> str:
        """The name without its serial number: `PJSIP/trunk-00000001` is of `PJSIP/trunk`."""
        return self.name.rpartition("-")[0] or self.name

    @property
    def technology(self) -> str:
        """The channel driver: `PJSIP`, `Local`, `Snoop`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge and who is in it; `type` is `mixing` or `holding`."""

    id: str
    type: str
    technology: str
    channel_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveRecording:
    """A recording under way, or the last word about one that ended.

    `state` is queued, recording, paused, done, failed or canceled; `duration_s` is whole seconds,
    only told at the end, and assumes 8 kHz: believe the file instead.
    """

    name: str
    state: str
    format: str
    target_uri: str
    cause: str
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """A recording that lies on the PBX's disk; Asterisk knows nothing more about it."""

    name: str
    format: str


@dataclass(frozen=True, slots=True)
class Playback:
    """`state` is queued, playing, continuing, done or failed; `target_uri` is `channel:ID`."""

    id: str
    state: str
    media_uri: str
    target_uri: str


@dataclass(frozen=True, slots=True)
class AsteriskInfo:
    """Which Asterisk answers, and since when it runs."""

    version: str
    entity_id: str
    startup_at: datetime
    last_reload_at: datetime


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module; `status` is `Running` where it works."""

    name: str
    description: str
    status: str
    use_count: int


# ------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened on the PBX, at its own clock, told to our application."""

    at: datetime
    application: str


@dataclass(frozen=True, slots=True)
class ChannelCreated(Event):
    """A channel came to be."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDestroyed(Event):
    """A channel is gone; `cause` is a Q.850 hang-up cause, 0 where there is none."""

    channel: Channel
    cause: int
    cause_text: str


@dataclass(frozen=True, slots=True)
class ChannelStateChange(Event):
    """A channel began to ring, was answered, …: see `channel.state`."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelCallerId(Event):
    """The caller of a channel is known, or another."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelConnectedLine(Event):
    """The other side of a channel is known, or another."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDialplan(Event):
    """A channel entered a dialplan application."""

    channel: Channel
    app_name: str
    app_data: str


@dataclass(frozen=True, slots=True)
class ChannelVarset(Event):
    """A variable was set; a global one where `channel` is None."""

    channel: Channel | None
    variable: str
    value: str


@dataclass(frozen=True, slots=True)
class ChannelHold(Event):
    """The party behind this channel put the other side on hold."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelUnhold(Event):
    """The party behind this channel took the other side back."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelHangupRequest(Event):
    """Somebody asked for a channel to end; it still lives."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelEnteredBridge(Event):
    """A channel joined; `bridge.channel_ids` already has it."""

    bridge: Bridge
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelLeftBridge(Event):
    """A channel left; `bridge.channel_ids` no longer has it."""

    bridge: Bridge
    channel: Channel


@dataclass(frozen=True, slots=True)
class BridgeCreated(Event):
    """A bridge came to be."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class BridgeDestroyed(Event):
    """A bridge is gone."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class BridgeMerged(Event):
    """All channels of `bridge_from` moved into `bridge`."""

    bridge: Bridge
    bridge_from: Bridge


@dataclass(frozen=True, slots=True)
class BridgeBlindTransfer(Event):
    """`channel` sent its peer to an extension; `transferee` is that peer, or its stand-in."""

    channel: Channel
    transferee: Channel | None
    replace_channel: Channel | None
    exten: str
    context: str
    result: str
    bridge: Bridge | None


@dataclass(frozen=True, slots=True)
class BridgeAttendedTransfer(Event):
    """A party joined its two calls and left; `destination_type` says which fields below count.

    That is `bridge`, `application`, `link`, `threeway` or `fail`; text fields are "" where absent.
    """

    transferer_first_leg: Channel
    transferer_second_leg: Channel
    result: str
    destination_type: str
    transferee: Channel | None
    transfer_target: Channel | None
    replace_channel: Channel | None
    transferer_first_leg_bridge: Bridge | None
    transferer_second_leg_bridge: Bridge | None
    destination_bridge: str
    destination_application: str
    destination_link_first_leg: Channel | None
    destination_link_second_leg: Channel | None
    destination_threeway_channel: Channel | None
    destination_threeway_bridge: Bridge | None


@dataclass(frozen=True, slots=True)
class Dial(Event):
    """`caller` (None for an originate) dials `peer`; "" as `dialstatus` means it begins."""

    caller: Channel | None
    peer: Channel
    dialstring: str
    dialstatus: str


@dataclass(frozen=True, slots=True)
class DtmfReceived(Event):
    """The party behind this channel pressed a key."""

    channel: Channel
    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RecordingStarted(Event):
    """Asterisk began to write the file."""

    recording: LiveRecording


@dataclass(frozen=True, slots=True)
class RecordingFinished(Event):
    """The file is closed; no proof that it holds anything."""

    recording: LiveRecording


@dataclass(frozen=True, slots=True)
class RecordingFailed(Event):
    """The recording never began; see `recording.cause`."""

    recording: LiveRecording


@dataclass(frozen=True, slots=True)
class PlaybackStarted(Event):
    """The channel hears it."""

    playback: Playback


@dataclass(frozen=True, slots=True)
class PlaybackFinished(Event):
    """It ended, was stopped, or could not be played: see `playback.state`."""

    playback: Playback


@dataclass(frozen=True, slots=True)
class StasisStart(Event):
    """A channel is ours now; `args` are those of `Stasis()` or of the request that made it."""

    channel: Channel
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StasisEnd(Event):
    """A channel is no longer ours."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelUserevent(Event):
    """`UserEvent()` in a dialplan, or `Ari.post_user_event`; `userevent` holds its fields."""

    eventname: str
    channel: Channel | None
    userevent: Mapping[str, object] = field(hash=False)


@dataclass(frozen=True, slots=True)
class ApplicationReplaced(Event):
    """Another client connected with our application's name; this socket will stay silent."""


@dataclass(frozen=True, slots=True)
class OtherEvent(Event):
    """An event that this module has no class for, as it came."""

    type: str
    body: Mapping[str, object] = field(hash=False)


# ------------------------------------------------------------------------------------ reading


class _Fields:
    """One JSON object being read: each method takes a field, or raises naming the one amiss."""

    __slots__ = ("_body", "_kind")

    def __init__(self, body: object, kind: str) -> None:
        if not isinstance(body, Mapping):
            raise AriProtocolError(kind, "the value", "is not an object")
        self._body = body
        self._kind = kind

    def amiss(self, name: str, expected: str) -> AriProtocolError:
        problem = f"is not {expected}" if name in self._body else "is missing"
        return AriProtocolError(self._kind, name, problem)

    def text(self, name: str) -> str:
        value = self._body.get(name)
        if isinstance(value, str):
            return value
        raise self.amiss(name, "text")

    def text_or_empty(self, name: str) -> str:
        return "" if self._body.get(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        value = self._body.get(name)
        if isinstance(value, int):
            return value
        raise self.amiss(name, "a whole number")

    def integer_or_none(self, name: str) -> int | None:
        return None if self._body.get(name) is None else self.integer(name)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._body.get(name)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise self.amiss(name, "a list of texts")

    def moment(self, name: str) -> datetime:
        """A time in ARI's form, `2026-11-23T18:26:33.037+0000`, of any offset, as UTC."""
        try:
            at = datetime.fromisoformat(self.text(name))
            if at.tzinfo is not None:
                return at.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self.amiss(name, "a time") from error
        raise self.amiss(name, "a time with an offset")

    def texts_by_name(self, name: str) -> Mapping[str, str]:
        value = self._body.get(name)
        if value is None:
            return {}
        # Asked of every channel of every event: a dict is seen at once.
        if isinstance(value, dict) and {*map(type, value.values())} <= {str}:
            return value
        raise self.amiss(name, "an object of texts")

    def anything_by_name(self, name: str) -> Mapping[str, object]:
        value = self._body.get(name)
        if isinstance(value, Mapping):
            return value
        raise self.amiss(name, "an object")

    def part(self, name: str, parse: Callable[[object, str], _Value]) -> _Value:
        if name not in self._body:
            raise self.amiss(name, "an object")
        return parse(self._body[name], f"{self._kind}.{name}")

    def part_or_none(self, name: str, parse: Callable[[object, str], _Value]) -> _Value | None:
        return None if self._body.get(name) is None else self.part(name, parse)


def _parse_party(body: object, kind: str) -> Party:
    fields = _Fields(body, kind)
    return Party(number=fields.text("number"), name=fields.text("name"))


def _parse_dialplan(body: object, kind: str) -> Dialplan:
    fields = _Fields(body, kind)
    return Dialplan(
        context=fields.text("context"),
        exten=fields.text("exten"),
        app_name=fields.text_or_empty("app_name"),
        app_data=fields.text_or_empty("app_data"),
    )


def parse_channel(body: object, kind: str = "Channel") -> Channel:
    """Read a `Channel`; raises AriProtocolError, as all of these do."""
    fields = _Fields(body, kind)
    return Channel(
        id=fields.text("id"),
        name=fields.text("name"),
        state=fields.text("state"),
        caller=fields.part("caller", _parse_party),
        connected=fields.part("connected", _parse_party),
        dialplan=fields.part("dialplan", _parse_dialplan),
        created_at=fields.moment("creationtime"),
        variables=fields.texts_by_name("channelvars"),
    )


def parse_bridge(body: object, kind: str = "Bridge") -> Bridge:
    """Read a `Bridge`."""
    fields = _Fields(body, kind)
    return Bridge(
        id=fields.text("id"),
        type=fields.text("bridge_type"),
        technology=fields.text("technology"),
        channel_ids=fields.texts("channels"),
    )


def parse_live_recording(body: object, kind: str = "LiveRecording") -> LiveRecording:
    """Read a `LiveRecording`."""
    fields = _Fields(body, kind)
    duration_s = fields.integer_or_none("duration")
    return LiveRecording(
        name=fields.text("name"),
        state=fields.text("state"),
        format=fields.text("format"),
        target_uri=fields.text("target_uri"),
        cause=fields.text_or_empty("cause"),
        duration_s=None if duration_s is None else float(duration_s),
    )


def parse_stored_recording(body: object, kind: str = "StoredRecording") -> StoredRecording:
    """Read a `StoredRecording`."""
    fields = _Fields(body, kind)
    return StoredRecording(name=fields.text("name"), format=fields.text("format"))


def parse_playback(body: object, kind: str = "Playback") -> Playback:
    """Read a `Playback`."""
    fields = _Fields(body, kind)
    return Playback(
        id=fields.text("id"),
        state=fields.text("state"),
        media_uri=fields.text("media_uri"),
        target_uri=fields.text("target_uri"),
    )


def parse_info(body: object, kind: str = "AsteriskInfo") -> AsteriskInfo:
    """Read an `AsteriskInfo`."""
    fields = _Fields(body, kind)
    version, entity_id = fields.part("system", _parse_system)
    startup_at, last_reload_at = fields.part("status", _parse_status)
    return AsteriskInfo(version, entity_id, startup_at, last_reload_at)


def _parse_system(body: object, kind: str) -> tuple[str, str]:
    fields = _Fields(body, kind)
    return fields.text("version"), fields.text("entity_id")


def _parse_status(body: object, kind: str) -> tuple[datetime, datetime]:
    fields = _Fields(body, kind)
    return fields.moment("startup_time"), fields.moment("last_reload_time")


def parse_module(body: object, kind: str = "Module") -> Module:
    """Read a `Module`."""
    fields = _Fields(body, kind)
    return Module(
        name=fields.text("name"),
        description=fields.text("description"),
        status=fields.text("status"),
        use_count=fields.integer("use_count"),
    )


def parse_variable(body: object, kind: str = "Variable") -> str:
    """Read the value of a `Variable`."""
    return _Fields(body, kind).text("value")


# ----------------------------------------------------------------------------- reading events

_Reader = Callable[[_Fields, datetime, str], Event]


def parse_event(body: Mapping[str, object]) -> Event:
    """Read any message of the event socket; one without a class here becomes `OtherEvent`."""
    message = _Fields(body, "Event")
    kind = message.text("type")
    event = _Fields(body, kind)
    at, application = event.moment("timestamp"), event.text("application")
    read = _READERS.get(kind)
    return read(event, at, application) if read else OtherEvent(at, application, kind, body)


def _of_channel(build: Callable[[datetime, str, Channel], Event]) -> _Reader:
    return lambda event, at, application: build(
        at, application, event.part("channel", parse_channel)
    )


def _of_bridge(build: Callable[[datetime, str, Bridge], Event]) -> _Reader:
    return lambda event, at, application: build(at, application, event.part("bridge", parse_bridge))


def _of_both(build: Callable[[datetime, str, Bridge, Channel], Event]) -> _Reader:
    return lambda event, at, application: build(
        at,
        application,
        event.part("bridge", parse_bridge),
        event.part("channel", parse_channel),
    )


def _of_recording(build: Callable[[datetime, str, LiveRecording], Event]) -> _Reader:
    return lambda event, at, application: build(
        at, application, event.part("recording", parse_live_recording)
    )


def _of_playback(build: Callable[[datetime, str, Playback], Event]) -> _Reader:
    return lambda event, at, application: build(
        at, application, event.part("playback", parse_playback)
    )


def _channel_destroyed(event: _Fields, at: datetime, application: str) -> ChannelDestroyed:
    return ChannelDestroyed(
        at,
        application,
        channel=event.part("channel", parse_channel),
        cause=event.integer("cause"),
        cause_text=event.text("cause_txt"),
    )


def _channel_dialplan(event: _Fields, at: datetime, application: str) -> ChannelDialplan:
    return ChannelDialplan(
        at,
        application,
        channel=event.part("channel", parse_channel),
        app_name=event.text("dialplan_app"),
        app_data=event.text("dialplan_app_data"),
    )


def _channel_varset(event: _Fields, at: datetime, application: str) -> ChannelVarset:
    return ChannelVarset(
        at,
        application,
        channel=event.part_or_none("channel", parse_channel),
        variable=event.text("variable"),
        value=event.text("value"),
    )


def _channel_userevent(event: _Fields, at: datetime, application: str) -> ChannelUserevent:
    return ChannelUserevent(
        at,
        application,
        eventname=event.text("eventname"),
        channel=event.part_or_none("channel", parse_channel),
        userevent=event.anything_by_name("userevent"),
    )


def _bridge_merged(event: _Fields, at: datetime, application: str) -> BridgeMerged:
    return BridgeMerged(
        at,
        application,
        bridge=event.part("bridge", parse_bridge),
        bridge_from=event.part("bridge_from", parse_bridge),
    )


def _blind_transfer(event: _Fields, at: datetime, application: str) -> BridgeBlindTransfer:
    return BridgeBlindTransfer(
        at,
        application,
        channel=event.part("channel", parse_channel),
        transferee=event.part_or_none("transferee", parse_channel),
        replace_channel=event.part_or_none("replace_channel", parse_channel),
        exten=event.text("exten"),
        context=event.text("context"),
        result=event.text("result"),
        bridge=event.part_or_none("bridge", parse_bridge),
    )


def _attended_transfer(event: _Fields, at: datetime, application: str) -> BridgeAttendedTransfer:
    def channel(name: str) -> Channel | None:
        return event.part_or_none(name, parse_channel)

    def bridge(name: str) -> Bridge | None:
        return event.part_or_none(name, parse_bridge)

    return BridgeAttendedTransfer(
        at,
        application,
        transferer_first_leg=event.part("transferer_first_leg", parse_channel),
        transferer_second_leg=event.part("transferer_second_leg", parse_channel),
        result=event.text("result"),
        destination_type=event.text("destination_type"),
        transferee=channel("transferee"),
        transfer_target=channel("transfer_target"),
        replace_channel=channel("replace_channel"),
        transferer_first_leg_bridge=bridge("transferer_first_leg_bridge"),
        transferer_second_leg_bridge=bridge("transferer_second_leg_bridge"),
        destination_bridge=event.text_or_empty("destination_bridge"),
        destination_application=event.text_or_empty("destination_application"),
        destination_link_first_leg=channel("destination_link_first_leg"),
        destination_link_second_leg=channel("destination_link_second_leg"),
        destination_threeway_channel=channel("destination_threeway_channel"),
        destination_threeway_bridge=bridge("destination_threeway_bridge"),
    )


def _dial(event: _Fields, at: datetime, application: str) -> Dial:
    return Dial(
        at,
        application,
        caller=event.part_or_none("caller", parse_channel),
        peer=event.part("peer", parse_channel),
        dialstring=event.text_or_empty("dialstring"),
        dialstatus=event.text("dialstatus"),
    )


def _dtmf_received(event: _Fields, at: datetime, application: str) -> DtmfReceived:
    return DtmfReceived(
        at,
        application,
        channel=event.part("channel", parse_channel),
        digit=event.text("digit"),
        duration_ms=event.integer("duration_ms"),
    )


def _stasis_start(event: _Fields, at: datetime, application: str) -> StasisStart:
    return StasisStart(
        at,
        application,
        channel=event.part("channel", parse_channel),
        args=event.texts("args"),
    )


def _application_replaced(event: _Fields, at: datetime, application: str) -> ApplicationReplaced:
    return ApplicationReplaced(at, application)


_READERS: Mapping[str, _Reader] = {
    "ApplicationReplaced": _application_replaced,
    "BridgeAttendedTransfer": _attended_transfer,
    "BridgeBlindTransfer": _blind_transfer,
    "BridgeCreated": _of_bridge(BridgeCreated),
    "BridgeDestroyed": _of_bridge(BridgeDestroyed),
    "BridgeMerged": _bridge_merged,
    "ChannelCallerId": _of_channel(ChannelCallerId),
    "ChannelConnectedLine": _of_channel(ChannelConnectedLine),
    "ChannelCreated": _of_channel(ChannelCreated),
    "ChannelDestroyed": _channel_destroyed,
    "ChannelDialplan": _channel_dialplan,
    "ChannelDtmfReceived": _dtmf_received,
    "ChannelEnteredBridge": _of_both(ChannelEnteredBridge),
    "ChannelHangupRequest": _of_channel(ChannelHangupRequest),
    "ChannelHold": _of_channel(ChannelHold),
    "ChannelLeftBridge": _of_both(ChannelLeftBridge),
    "ChannelStateChange": _of_channel(ChannelStateChange),
    "ChannelUnhold": _of_channel(ChannelUnhold),
    "ChannelUserevent": _channel_userevent,
    "ChannelVarset": _channel_varset,
    "Dial": _dial,
    "PlaybackFinished": _of_playback(PlaybackFinished),
    "PlaybackStarted": _of_playback(PlaybackStarted),
    "RecordingFailed": _of_recording(RecordingFailed),
    "RecordingFinished": _of_recording(RecordingFinished),
    "RecordingStarted": _of_recording(RecordingStarted),
    "StasisEnd": _of_channel(StasisEnd),
    "StasisStart": _stasis_start,
}
