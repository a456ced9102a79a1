"""ARI's values and events as frozen classes, and pure functions that read them from JSON.

Part of a public client: it also has events that this product does not use. Each was captured from
a real Asterisk. Source: the REST description that Asterisk ships (`rest-api/*.json`).

Unknown fields are ignored, unknown events become `OtherEvent`. If a needed field is missing or has
another type, `AriProtocolError` names the value and the field.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from recorder.ari.errors import AriProtocolError

_Value = TypeVar("_Value")

# The function with a channel's linkedid: to read, or among the `channelvars` of ari.conf.
LINKEDID = "CHANNEL(linkedid)"
# Asterisk's numbers have 64 bits at most.
LARGEST = 2**63

# ------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Party:
    """Number and name on one side of a channel; "" where Asterisk knows none."""

    number: str
    name: str


@dataclass(frozen=True, slots=True)
class Dialplan:
    """A channel's place in the dialplan; `app_name` and `app_data` are "" between applications."""

    context: str
    exten: str
    app_name: str
    app_data: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel at the time of the message; `variables` are the `channelvars` of ari.conf."""

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
        """The name without its serial number: `PJSIP/trunk` for `PJSIP/trunk-00000001`."""
        return self.name.rpartition("-")[0] or self.name

    @property
    def technology(self) -> str:
        """The channel driver: `PJSIP`, `Local`, `Snoop`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge and its channels; `type` is `mixing` or `holding`."""

    id: str
    type: str
    technology: str
    channel_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveRecording:
    """A recording that runs or has just ended.

    `state` is queued, recording, paused, done, failed or canceled. `duration_s` comes at the end,
    in whole seconds, and assumes 8 kHz: measure the file instead.
    """

    name: str
    state: str
    format: str
    target_uri: str
    cause: str
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """A recording on the PBX's disk; Asterisk keeps nothing else about it."""

    name: str
    format: str


@dataclass(frozen=True, slots=True)
class Playback:
    """A playback; `state` is queued, playing, continuing, done or failed."""

    id: str
    state: str
    media_uri: str
    target_uri: str


@dataclass(frozen=True, slots=True)
class AsteriskInfo:
    """The version of an Asterisk, its entity id, and its start and last reload."""

    version: str
    entity_id: str
    startup_at: datetime
    last_reload_at: datetime


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A telephone or trunk that a channel driver knows: `PJSIP` and `2001`.

    `state` is `online`, `offline` (for example not registered) or `unknown`. `channel_ids` are the
    channels to and from it.
    """

    technology: str
    resource: str
    state: str
    channel_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module; `status` is `Running` if it works."""

    name: str
    description: str
    status: str
    use_count: int


# ------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Event:
    """An event on the PBX; `at` is by the PBX's clock, `application` is ours."""

    at: datetime
    application: str


@dataclass(frozen=True, slots=True)
class ChannelCreated(Event):
    """A new channel exists."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDestroyed(Event):
    """A channel is gone; `cause` is a Q.850 hang-up cause, or 0."""

    channel: Channel
    cause: int
    cause_text: str


@dataclass(frozen=True, slots=True)
class ChannelStateChange(Event):
    """A channel has a new state, such as `Ringing` or `Up`: see `channel.state`."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelCallerId(Event):
    """The caller of a channel became known or changed."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelConnectedLine(Event):
    """The connected party of a channel became known or changed."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDialplan(Event):
    """A channel entered a dialplan application."""

    channel: Channel
    app_name: str
    app_data: str


@dataclass(frozen=True, slots=True)
class ChannelVarset(Event):
    """A variable was set; it is a global one if `channel` is None."""

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
    """Somebody asked to hang up a channel, which is still alive."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelEnteredBridge(Event):
    """A channel joined a bridge; `bridge.channel_ids` already holds it."""

    bridge: Bridge
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelLeftBridge(Event):
    """A channel left a bridge; `bridge.channel_ids` no longer holds it."""

    bridge: Bridge
    channel: Channel


@dataclass(frozen=True, slots=True)
class BridgeCreated(Event):
    """A new bridge exists."""

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
    """A party joined its two calls and left.

    `destination_type` is `bridge`, `application`, `link`, `threeway` or `fail`, and selects the
    fields `destination_…` that have a value; the others are "" or None.
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
    """`caller` (None for an originate) dials `peer`; `dialstatus` is "" at the start."""

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
class ChannelTalkingStarted(Event):
    """The party behind a channel with TALK_DETECT has begun to talk."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelTalkingFinished(Event):
    """The party behind a channel with TALK_DETECT talks no longer."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class RecordingStarted(Event):
    """Asterisk started to write the file."""

    recording: LiveRecording


@dataclass(frozen=True, slots=True)
class RecordingFinished(Event):
    """The file is closed; it may still be empty."""

    recording: LiveRecording


@dataclass(frozen=True, slots=True)
class RecordingFailed(Event):
    """The recording never started: see `recording.cause`."""

    recording: LiveRecording


@dataclass(frozen=True, slots=True)
class PlaybackStarted(Event):
    """The channel hears the playback."""

    playback: Playback


@dataclass(frozen=True, slots=True)
class PlaybackFinished(Event):
    """The playback ended, was stopped or failed: see `playback.state`."""

    playback: Playback


@dataclass(frozen=True, slots=True)
class StasisStart(Event):
    """A channel is ours now; `args` are from `Stasis()` or from the request that made it.

    `replace_channel` was ours before, and `channel` has taken its place, for example by a transfer.
    """

    channel: Channel
    args: tuple[str, ...]
    replace_channel: Channel | None = None


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
    """An event without a class in this module, unchanged."""

    type: str
    body: Mapping[str, object] = field(hash=False)


# ------------------------------------------------------------------------------------ reading


def _clean(text: str) -> str:
    """Replace the characters that no database and no encoding takes: NUL, half a surrogate pair."""
    return text.encode(errors="replace").decode().replace("\0", "?")


class _Fields:
    """A JSON object; each method returns a field, or raises AriProtocolError with its name."""

    __slots__ = ("_body", "_kind")

    def __init__(self, body: object, kind: str) -> None:
        if not isinstance(body, Mapping):
            raise AriProtocolError(kind, "the value", "is not an object")
        self._body = body
        self._kind = kind

    def error(self, name: str, expected: str) -> AriProtocolError:
        problem = f"is not {expected}" if name in self._body else "is missing"
        return AriProtocolError(self._kind, name, problem)

    def text(self, name: str) -> str:
        value = self._body.get(name)
        if isinstance(value, str):
            return value if value.isprintable() else _clean(value)
        raise self.error(name, "text")

    def text_or_empty(self, name: str) -> str:
        return "" if self._body.get(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        value = self._body.get(name)
        if isinstance(value, int) and abs(value) <= LARGEST:
            return value
        raise self.error(name, "a whole number")

    def integer_or_none(self, name: str) -> int | None:
        return None if self._body.get(name) is None else self.integer(name)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._body.get(name)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(map(_clean, value))
        raise self.error(name, "a list of texts")

    def moment(self, name: str) -> datetime:
        """Return a time such as `2026-11-23T18:26:33.037+0000`, in UTC."""
        try:
            at = datetime.fromisoformat(self.text(name))
            if at.tzinfo is not None:
                return at.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self.error(name, "a time") from error
        raise self.error(name, "a time with an offset")

    def texts_by_name(self, name: str) -> Mapping[str, str]:
        value = self._body.get(name)
        if value is None:
            return {}
        # Every channel of every event has it, so check the usual dict fast.
        if isinstance(value, dict) and {*map(type, value.values())} <= {str}:
            if all(map(str.isprintable, value.values())):
                return value
            return {one: _clean(text) for one, text in value.items()}
        raise self.error(name, "an object of texts")

    def anything_by_name(self, name: str) -> Mapping[str, object]:
        value = self._body.get(name)
        if isinstance(value, Mapping):
            return value
        raise self.error(name, "an object")

    def part(self, name: str, parse: Callable[[object, str], _Value]) -> _Value:
        if name not in self._body:
            raise self.error(name, "an object")
        return parse(self._body[name], f"{self._kind}.{name}")

    def part_or_none(self, name: str, parse: Callable[[object, str], _Value]) -> _Value | None:
        return None if self._body.get(name) is None else self.part(name, parse)


def _parse_party(body: object, kind: str) -> Party:
    fields = _Fields(body, kind)
    return Party(number=fields.text("number"), name=fields.text("name"))


def parse_channel(body: object, kind: str = "Channel") -> Channel:
    """Read a `Channel`. Raises AriProtocolError, like every function here."""
    fields = _Fields(body, kind)
    dialplan = fields.part("dialplan", _Fields)
    return Channel(
        id=fields.text("id"),
        name=fields.text("name"),
        state=fields.text("state"),
        caller=fields.part("caller", _parse_party),
        connected=fields.part("connected", _parse_party),
        dialplan=Dialplan(
            context=dialplan.text("context"),
            exten=dialplan.text("exten"),
            app_name=dialplan.text_or_empty("app_name"),
            app_data=dialplan.text_or_empty("app_data"),
        ),
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
    system = fields.part("system", _Fields)
    status = fields.part("status", _Fields)
    return AsteriskInfo(
        version=system.text("version"),
        entity_id=system.text("entity_id"),
        startup_at=status.moment("startup_time"),
        last_reload_at=status.moment("last_reload_time"),
    )


def parse_endpoint(body: object, kind: str = "Endpoint") -> Endpoint:
    """Read an `Endpoint`."""
    fields = _Fields(body, kind)
    return Endpoint(
        technology=fields.text("technology"),
        resource=fields.text("resource"),
        state=fields.text_or_empty("state"),
        channel_ids=fields.texts("channel_ids"),
    )


def parse_module(body: object, kind: str = "Module") -> Module:
    """Read a `Module`."""
    fields = _Fields(body, kind)
    return Module(
        name=fields.text("name"),
        description=fields.text("description"),
        status=fields.text("status"),
        use_count=fields.integer("use_count"),
    )


def parse_rtp_sent(body: object, kind: str = "RTPstat") -> int:
    """Read the number of packets that were sent, from the statistics of a channel."""
    return _Fields(body, kind).integer("txcount")


def parse_variable(body: object, kind: str = "Variable") -> str:
    """Read the value of a `Variable`."""
    return _Fields(body, kind).text("value")


# ----------------------------------------------------------------------------- reading events


def parse_event(body: Mapping[str, object]) -> Event:
    """Read one message of the event socket; a type without a class here becomes `OtherEvent`."""
    kind = _Fields(body, "Event").text("type")
    event = _Fields(body, kind)
    at, application = event.moment("timestamp"), event.text("application")
    if kind not in _EVENTS:
        return OtherEvent(at, application, kind, body)
    build, fields = _EVENTS[kind]
    return build(at, application, **{name: read(event) for name, read in fields.items()})


_Read = Callable[[_Fields], object]


def _channel(name: str) -> _Read:
    return lambda event: event.part(name, parse_channel)


def _channel_or_none(name: str) -> _Read:
    return lambda event: event.part_or_none(name, parse_channel)


def _bridge(name: str) -> _Read:
    return lambda event: event.part(name, parse_bridge)


def _bridge_or_none(name: str) -> _Read:
    return lambda event: event.part_or_none(name, parse_bridge)


def _text(name: str) -> _Read:
    return lambda event: event.text(name)


def _text_or_empty(name: str) -> _Read:
    return lambda event: event.text_or_empty(name)


def _integer(name: str) -> _Read:
    return lambda event: event.integer(name)


_OF_CHANNEL = {"channel": _channel("channel")}
_OF_BRIDGE = {"bridge": _bridge("bridge")}
_OF_RECORDING: dict[str, _Read] = {
    "recording": lambda event: event.part("recording", parse_live_recording)
}
_OF_PLAYBACK: dict[str, _Read] = {"playback": lambda event: event.part("playback", parse_playback)}

# For each type of event its class, and how each field of the class is read.
_EVENTS: Mapping[str, tuple[Callable[..., Event], Mapping[str, _Read]]] = {
    "ApplicationReplaced": (ApplicationReplaced, {}),
    "BridgeAttendedTransfer": (
        BridgeAttendedTransfer,
        {
            "transferer_first_leg": _channel("transferer_first_leg"),
            "transferer_second_leg": _channel("transferer_second_leg"),
            "result": _text("result"),
            "destination_type": _text("destination_type"),
            "transferee": _channel_or_none("transferee"),
            "transfer_target": _channel_or_none("transfer_target"),
            "replace_channel": _channel_or_none("replace_channel"),
            "transferer_first_leg_bridge": _bridge_or_none("transferer_first_leg_bridge"),
            "transferer_second_leg_bridge": _bridge_or_none("transferer_second_leg_bridge"),
            "destination_bridge": _text_or_empty("destination_bridge"),
            "destination_application": _text_or_empty("destination_application"),
            "destination_link_first_leg": _channel_or_none("destination_link_first_leg"),
            "destination_link_second_leg": _channel_or_none("destination_link_second_leg"),
            "destination_threeway_channel": _channel_or_none("destination_threeway_channel"),
            "destination_threeway_bridge": _bridge_or_none("destination_threeway_bridge"),
        },
    ),
    "BridgeBlindTransfer": (
        BridgeBlindTransfer,
        {
            "channel": _channel("channel"),
            "transferee": _channel_or_none("transferee"),
            "replace_channel": _channel_or_none("replace_channel"),
            "exten": _text("exten"),
            "context": _text("context"),
            "result": _text("result"),
            "bridge": _bridge_or_none("bridge"),
        },
    ),
    "BridgeCreated": (BridgeCreated, _OF_BRIDGE),
    "BridgeDestroyed": (BridgeDestroyed, _OF_BRIDGE),
    "BridgeMerged": (BridgeMerged, {**_OF_BRIDGE, "bridge_from": _bridge("bridge_from")}),
    "ChannelCallerId": (ChannelCallerId, _OF_CHANNEL),
    "ChannelConnectedLine": (ChannelConnectedLine, _OF_CHANNEL),
    "ChannelCreated": (ChannelCreated, _OF_CHANNEL),
    "ChannelDestroyed": (
        ChannelDestroyed,
        {**_OF_CHANNEL, "cause": _integer("cause"), "cause_text": _text("cause_txt")},
    ),
    "ChannelDialplan": (
        ChannelDialplan,
        {
            **_OF_CHANNEL,
            "app_name": _text("dialplan_app"),
            "app_data": _text("dialplan_app_data"),
        },
    ),
    "ChannelDtmfReceived": (
        DtmfReceived,
        {**_OF_CHANNEL, "digit": _text("digit"), "duration_ms": _integer("duration_ms")},
    ),
    "ChannelEnteredBridge": (ChannelEnteredBridge, {**_OF_BRIDGE, **_OF_CHANNEL}),
    "ChannelHangupRequest": (ChannelHangupRequest, _OF_CHANNEL),
    "ChannelHold": (ChannelHold, _OF_CHANNEL),
    "ChannelLeftBridge": (ChannelLeftBridge, {**_OF_BRIDGE, **_OF_CHANNEL}),
    "ChannelStateChange": (ChannelStateChange, _OF_CHANNEL),
    "ChannelTalkingFinished": (ChannelTalkingFinished, _OF_CHANNEL),
    "ChannelTalkingStarted": (ChannelTalkingStarted, _OF_CHANNEL),
    "ChannelUnhold": (ChannelUnhold, _OF_CHANNEL),
    "ChannelUserevent": (
        ChannelUserevent,
        {
            "eventname": _text("eventname"),
            "channel": _channel_or_none("channel"),
            "userevent": lambda event: event.anything_by_name("userevent"),
        },
    ),
    "ChannelVarset": (
        ChannelVarset,
        {
            "channel": _channel_or_none("channel"),
            "variable": _text("variable"),
            "value": _text("value"),
        },
    ),
    "Dial": (
        Dial,
        {
            "caller": _channel_or_none("caller"),
            "peer": _channel("peer"),
            "dialstring": _text_or_empty("dialstring"),
            "dialstatus": _text("dialstatus"),
        },
    ),
    "PlaybackFinished": (PlaybackFinished, _OF_PLAYBACK),
    "PlaybackStarted": (PlaybackStarted, _OF_PLAYBACK),
    "RecordingFailed": (RecordingFailed, _OF_RECORDING),
    "RecordingFinished": (RecordingFinished, _OF_RECORDING),
    "RecordingStarted": (RecordingStarted, _OF_RECORDING),
    "StasisEnd": (StasisEnd, _OF_CHANNEL),
    "StasisStart": (
        StasisStart,
        {
            **_OF_CHANNEL,
            "args": lambda event: event.texts("args"),
            "replace_channel": _channel_or_none("replace_channel"),
        },
    ),
}
