"""ARI's requests as typed methods.

Names and meanings are ARI's own. `get_x` raises AriNotFound where `find_x` returns None; a method
that ends something returns True when it did and False when the thing was already gone. Every
request has time-outs, and none is sent twice, but for one whose kept-alive connection the server
closed just then, where repeating is safe. An `Ari` may be used by any number of threads.
"""

import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import BinaryIO, Literal, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3

from recorder.ari.errors import (
    AriNotFound,
    AriProtocolError,
    AriUnavailable,
    error_for,
)
from recorder.ari.model import (
    AsteriskInfo,
    Bridge,
    Channel,
    LiveRecording,
    Module,
    Playback,
    StoredRecording,
    parse_bridge,
    parse_channel,
    parse_info,
    parse_live_recording,
    parse_module,
    parse_playback,
    parse_stored_recording,
    parse_variable,
)

Direction = Literal["none", "in", "out", "both"]
MuteDirection = Literal["in", "out", "both"]
Method = Literal["GET", "POST", "PUT", "DELETE"]

_Value = TypeVar("_Value")

_SAFE_TO_REPEAT = frozenset({"GET", "PUT", "DELETE"})

# Asterisk closes a connection that was idle for 15 s (http.conf: session_keep_alive). Ours is
# given up before that, so that a POST, which is never repeated, does not meet that moment.
_IDLE_S = 10.0


class Ari:
    """One Asterisk's REST interface, as one user.

    `url` is Asterisk's HTTP server (`http://pbx:8088`, with the `prefix` of http.conf if it has
    one); `application` is the Stasis application that channels are brought into.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        application: str = "",
        *,
        timeout_s: float = 5.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("url must be http(s)://HOST:PORT, without a user in it")
        self.url = url.rstrip("/")
        self.username = username
        self.application = application
        self.timeout_s = timeout_s
        self._password = password
        self._idle: deque[tuple[requests.Session, float]] = deque()

    def __repr__(self) -> str:
        return f"Ari({self.url!r}, username={self.username!r}, application={self.application!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that nobody uses now; the next request opens a new one."""
        while self._idle:
            session, _ = self._idle.pop()
            session.close()

    # ---------------------------------------------------------------------------- Asterisk

    def get_info(self) -> AsteriskInfo:
        """Which Asterisk this is; also the cheapest proof that it is there and we may ask."""
        query = {"only": "system,status"}
        return self._one(parse_info, "GET", _path("asterisk", "info"), query)

    def list_modules(self) -> list[Module]:
        """All modules that are loaded."""
        return self._many(parse_module, "GET", _path("asterisk", "modules"))

    # ---------------------------------------------------------------------------- channels

    def list_channels(self, *, prefix: str = "") -> list[Channel]:
        """All channels there are whose ids begin so, ours or not.

        Asterisk sends all of them in any case; to read a channel takes longest.
        """

        def parse(body: object) -> list[Channel]:
            return [parse_channel(one) for one in _items(body) if _begins(one, prefix)]

        return self._one(parse, "GET", _path("channels"))

    def get_channel(self, channel_id: str) -> Channel:
        """One channel."""
        return self._one(parse_channel, "GET", _path("channels", channel_id))

    def find_channel(self, channel_id: str) -> Channel | None:
        """One channel; None when it is gone."""
        return _or_none(lambda: self.get_channel(channel_id))

    def get_variable(self, channel_id: str, name: str) -> str:
        """A channel variable or function, such as `CHANNEL(linkedid)`, of any channel.

        Raises AriNotFound for a variable that is not set, too, and AriServerError for a function
        that does not exist.
        """
        path = _path("channels", channel_id, "variable")
        return self._one(parse_variable, "GET", path, {"variable": name})

    def find_variable(self, channel_id: str, name: str) -> str | None:
        """As `get_variable`; None when the channel is gone or the variable is not set."""
        return _or_none(lambda: self.get_variable(channel_id, name))

    def set_variable(self, channel_id: str, name: str, value: str) -> None:
        """Set a variable or function of a channel that is in our application."""
        path = _path("channels", channel_id, "variable")
        self._do("POST", path, body={"variable": name, "value": value})

    def originate(
        self,
        endpoint: str,
        *,
        channel_id: str,
        app_args: Sequence[str] = (),
        context: str = "",
        exten: str = "",
        caller_id: str = "",
        timeout_s: int = 30,
        variables: Mapping[str, str] | None = None,
    ) -> Channel:
        """Dial `endpoint`; once answered, into our application, or the dialplan at `context`.

        `timeout_s` is how long it may ring, -1 for ever. Raises AriConflict when the id is taken;
        Asterisk says the same of a technology that it does not have.
        """
        target = (
            {"context": context, "extension": exten}
            if context
            else {"app": self.application, "appArgs": ",".join(app_args)}
        )
        query = {"endpoint": endpoint, "callerId": caller_id, "timeout": str(timeout_s)} | target
        body = {"variables": dict(variables or {})}
        return self._one(parse_channel, "POST", _path("channels", channel_id), query, body)

    def answer(self, channel_id: str) -> None:
        """Answer a channel that is in our application."""
        self._do("POST", _path("channels", channel_id, "answer"))

    def hang_up(self, channel_id: str, reason: str | None = None) -> bool:
        """End a channel, ours or not; `reason` is one of ARI's words, such as `busy`."""
        query = {"reason": reason} if reason else None
        return self._end("DELETE", _path("channels", channel_id), query)

    def continue_in_dialplan(
        self, channel_id: str, *, context: str = "", exten: str = "", priority: int | None = None
    ) -> None:
        """Give a channel back: after its `Stasis()`, or to the place named."""
        place = {"context": context, "extension": exten}
        query = {name: value for name, value in place.items() if value}
        if priority is not None:
            query["priority"] = str(priority)
        self._do("POST", _path("channels", channel_id, "continue"), query)

    def mute(self, channel_id: str, direction: MuteDirection = "both") -> None:
        """Silence what comes `in` from the party, goes `out` to it, or both."""
        self._do("POST", _path("channels", channel_id, "mute"), {"direction": direction})

    def unmute(self, channel_id: str, direction: MuteDirection = "both") -> None:
        """Undo `mute`."""
        self._do("DELETE", _path("channels", channel_id, "mute"), {"direction": direction})

    def send_dtmf(self, channel_id: str, digits: str) -> None:
        """Send digits to the party behind the channel, 100 ms each with 100 ms between."""
        self._do("POST", _path("channels", channel_id, "dtmf"), {"dtmf": digits})

    def play(self, channel_id: str, media: str, *, playback_id: str) -> Playback:
        """Play `sound:NAME`, `digits:12`, `tone:ring`, … after whatever plays already."""
        path = _path("channels", channel_id, "play", playback_id)
        return self._one(parse_playback, "POST", path, {"media": media})

    def find_playback(self, playback_id: str) -> Playback | None:
        """What plays or waits to; None once it is over."""
        path = _path("playbacks", playback_id)
        return _or_none(lambda: self._one(parse_playback, "GET", path))

    def stop_playback(self, playback_id: str) -> bool:
        """Stop what plays."""
        return self._end("DELETE", _path("playbacks", playback_id))

    def snoop(
        self,
        channel_id: str,
        *,
        snoop_id: str,
        spy: Direction = "none",
        whisper: Direction = "none",
        app_args: str = "",
    ) -> Channel:
        """Make a channel that hears (`spy`) or talks into (`whisper`) another, in any state.

        It comes into our application with `app_args`. Raises AriNotFound when the channel is
        gone and AriServerError when `snoop_id` is taken. Look before trying an id again: an
        Asterisk that refused one takes 16 s to end on SIGTERM (measured on 22.10; `originate` too).
        """
        path = _path("channels", channel_id, "snoop", snoop_id)
        query = {"app": self.application, "appArgs": app_args, "spy": spy, "whisper": whisper}
        return self._one(parse_channel, "POST", path, query)

    def create_external_media(
        self,
        channel_id: str,
        *,
        external_host: str,
        format: str,
        transport: str = "",
        encapsulation: str = "",
        connection_type: str = "",
    ) -> Channel:
        """Make a channel that carries sound to and from a program; what is "" is left out.

        Its `variables` tell where: `UNICASTRTP_LOCAL_PORT`, or `MEDIA_WEBSOCKET_CONNECTION_ID`.
        Raises AriConflict where the id is taken.
        """
        options = {
            "transport": transport,
            "encapsulation": encapsulation,
            "connection_type": connection_type,
        }
        query = {
            "channelId": channel_id,
            "app": self.application,
            "external_host": external_host,
            "format": format,
        } | {name: value for name, value in options.items() if value}
        return self._one(parse_channel, "POST", _path("channels", "externalMedia"), query)

    # -------------------------------------------------------------------------- recordings

    def record_channel(
        self,
        channel_id: str,
        *,
        name: str,
        format: str = "wav",
        if_exists: Literal["fail", "overwrite", "append"] = "fail",
    ) -> LiveRecording:
        """Record what a channel of ours sends to a file under Asterisk's `recording` directory.

        `name` may hold directories. Raises AriConflict when the name is taken, or the channel is
        in a bridge or not (yet) in our application, and AriBadRequest for an unknown format.
        """
        _path(name)
        query = {"name": name, "format": format, "ifExists": if_exists}
        path = _path("channels", channel_id, "record")
        return self._one(parse_live_recording, "POST", path, query)

    def record_bridge(self, bridge_id: str, *, name: str, format: str = "wav") -> LiveRecording:
        """Record what is heard in a bridge. Raises AriServerError where no file can be written."""
        _path(name)
        query = {"name": name, "format": format, "ifExists": "fail"}
        path = _path("bridges", bridge_id, "record")
        return self._one(parse_live_recording, "POST", path, query)

    def get_live_recording(self, name: str) -> LiveRecording:
        """One recording that is under way."""
        return self._one(parse_live_recording, "GET", _path("recordings", "live", name))

    def find_live_recording(self, name: str) -> LiveRecording | None:
        """One recording that is under way; None when it ended or never was."""
        return _or_none(lambda: self.get_live_recording(name))

    def stop_live_recording(self, name: str) -> bool:
        """End a recording and keep the file."""
        return self._end("POST", _path("recordings", "live", name, "stop"))

    def discard_live_recording(self, name: str) -> bool:
        """End a recording and delete its file."""
        return self._end("DELETE", _path("recordings", "live", name))

    def pause_live_recording(self, name: str) -> None:
        """Write nothing from now on: the time of the pause is missing from the file."""
        self._do("POST", _path("recordings", "live", name, "pause"))

    def resume_live_recording(self, name: str) -> None:
        """Undo `pause_live_recording`."""
        self._do("DELETE", _path("recordings", "live", name, "pause"))

    def mute_live_recording(self, name: str) -> None:
        """Write silence from now on: the file keeps its time."""
        self._do("POST", _path("recordings", "live", name, "mute"))

    def unmute_live_recording(self, name: str) -> None:
        """Undo `mute_live_recording`."""
        self._do("DELETE", _path("recordings", "live", name, "mute"))

    def list_stored_recordings(self) -> list[StoredRecording]:
        """All files under Asterisk's `recording` directory, those still being written too."""
        return self._many(parse_stored_recording, "GET", _path("recordings", "stored"))

    def get_stored_recording(self, name: str) -> StoredRecording:
        """One file under Asterisk's `recording` directory."""
        return self._one(parse_stored_recording, "GET", _path("recordings", "stored", name))

    def find_stored_recording(self, name: str) -> StoredRecording | None:
        """One file under Asterisk's `recording` directory; None when there is none."""
        return _or_none(lambda: self.get_stored_recording(name))

    def delete_stored_recording(self, name: str) -> bool:
        """Delete a file on the PBX."""
        return self._end("DELETE", _path("recordings", "stored", name))

    def fetch_stored_recording(self, name: str, target: BinaryIO, *, chunk: int = 1 << 16) -> int:
        """Copy a file from the PBX into `target`, `chunk` bytes at a time; returns its length.

        Raises AriUnavailable when fewer bytes come than were announced; what came until then is
        in `target`. Of a recording under way it is the part written so far.
        """
        path = _path("recordings", "stored", name, "file")
        with self._answer("GET", path, stream=True) as response:
            announced = _announced_bytes(response)
            received = sum(target.write(block) for block in response.iter_content(chunk))
        if received != announced:
            raise AriUnavailable(f"{received} of {announced} bytes came", method="GET", path=path)
        return received

    # ----------------------------------------------------------------------------- bridges

    def list_bridges(self) -> list[Bridge]:
        """All bridges there are, ours or not."""
        return self._many(parse_bridge, "GET", _path("bridges"))

    def get_bridge(self, bridge_id: str) -> Bridge:
        """One bridge."""
        return self._one(parse_bridge, "GET", _path("bridges", bridge_id))

    def find_bridge(self, bridge_id: str) -> Bridge | None:
        """One bridge; None when it is gone."""
        return _or_none(lambda: self.get_bridge(bridge_id))

    def create_bridge(self, *, bridge_id: str, type: str = "mixing") -> Bridge:
        """Make a bridge; `type` is `mixing` or `holding`, more of ARI's words after commas."""
        return self._one(parse_bridge, "POST", _path("bridges", bridge_id), {"type": type})

    def add_to_bridge(self, bridge_id: str, *channel_ids: str, absorb_dtmf: bool = False) -> None:
        """Bring channels of ours into a bridge of ours, out of the one that they are in.

        With `absorb_dtmf` nobody in the bridge hears the keys that they press. Raises AriBadRequest
        for a channel that is gone, or not (yet) in our application.
        """
        query = {"channel": ",".join(channel_ids)}
        if absorb_dtmf:
            query["absorbDTMF"] = "true"
        self._do("POST", _path("bridges", bridge_id, "addChannel"), query)

    def remove_from_bridge(self, bridge_id: str, *channel_ids: str) -> None:
        """Take channels out of a bridge; AriBadRequest for one that is not in it."""
        query = {"channel": ",".join(channel_ids)}
        self._do("POST", _path("bridges", bridge_id, "removeChannel"), query)

    def destroy_bridge(self, bridge_id: str) -> bool:
        """End a bridge; channels of ours stay in our application."""
        return self._end("DELETE", _path("bridges", bridge_id))

    # ------------------------------------------------------------------------------ events

    def set_event_filter(self, allowed: Collection[str] | None) -> None:
        """Tell Asterisk to send our application these types of events alone; None: all of them.

        Raises AriNotFound while nobody is connected as the application.
        """
        types = [{"type": name} for name in sorted(allowed or ())]
        body = {} if allowed is None else {"allowed": types}
        self._do("PUT", _path("applications", self.application, "eventFilter"), body=body)

    def post_user_event(
        self,
        name: str,
        *,
        application: str | None = None,
        source: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Send an application, or our own, a ChannelUserevent.

        `source` is `channel:ID`, `bridge:ID` or "". Raises AriNotFound where nobody is connected as
        the application, or the source is not there.
        """
        query = {"application": application or self.application}
        query |= {"source": source} if source else {}
        body = {"variables": dict(variables or {})}
        self._do("POST", _path("events", "user", name), query, body)

    def subscribe(self, *sources: str) -> None:
        """Send our application the events of `channel:ID`, `bridge:ID`, …; without ID: of all.

        Raises AriNotFound while nobody is connected as the application.
        """
        path = _path("applications", self.application, "subscription")
        self._do("POST", path, {"eventSource": ",".join(sources)})

    def events_url(self) -> str:
        """The address of the event socket, without credentials."""
        query = urlencode({"app": self.application})
        return f"ws{self.url.removeprefix('http')}/ari/events?{query}"

    def authorization(self) -> str:
        """The value of an HTTP `Authorization` header: a secret."""
        return "Basic " + b64encode(f"{self.username}:{self._password}".encode()).decode()

    # ---------------------------------------------------------------- how requests are made

    def _one(
        self,
        parse: Callable[[object], _Value],
        method: Method,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> _Value:
        with self._answer(method, path, query, body) as response:
            return parse(_json(response))

    def _many(self, parse: Callable[[object], _Value], method: Method, path: str) -> list[_Value]:
        return self._one(lambda body: [parse(item) for item in _items(body)], method, path)

    def _do(
        self,
        method: Method,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> None:
        with self._answer(method, path, query, body):
            pass

    def _end(self, method: Method, path: str, query: Mapping[str, str] | None = None) -> bool:
        try:
            self._do(method, path, query)
        except AriNotFound:
            return False
        return True

    @contextmanager
    def _answer(
        self,
        method: Method,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        *,
        stream: bool = False,
    ) -> Iterator[requests.Response]:
        """Send, and hold the successful answer; all of requests' errors become ours here."""
        request = requests.Request(method, self.url + "/ari" + path, params=query, json=body)
        try:
            with self._session() as session, self._send(session, request, stream) as response:
                _raise_unless_ok(response, method, path)
                yield response
        except requests.RequestException as error:
            raise AriUnavailable(self._reason(error), method=method, path=path) from error

    def _send(
        self, session: requests.Session, request: requests.Request, stream: bool
    ) -> requests.Response:
        prepared = session.prepare_request(request)

        def send() -> requests.Response:
            return session.send(
                prepared, stream=stream, timeout=self.timeout_s, allow_redirects=False
            )

        try:
            return send()
        except requests.ConnectionError as error:
            hung_up = _is_within(error, urllib3.exceptions.ProtocolError)
            if hung_up and request.method in _SAFE_TO_REPEAT:
                return send()
            raise

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session of the caller's own for a while: requests' are not made for two threads."""
        session, since = self._idle.pop() if self._idle else (self._new_session(), time.monotonic())
        if time.monotonic() - since > _IDLE_S:
            session.close()
        try:
            yield session
        finally:
            self._idle.append((session, time.monotonic()))

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # a proxy or .netrc of the environment is not meant for a PBX
        session.headers["Authorization"] = self.authorization()
        session.headers["Accept-Encoding"] = "identity"  # or Content-Length says nothing
        return session

    def _reason(self, error: requests.RequestException) -> str:
        if isinstance(error, requests.Timeout) or _is_within(
            error, urllib3.exceptions.TimeoutError
        ):
            return f"no answer within {self.timeout_s:g} s"
        if _is_within(error, urllib3.exceptions.ProtocolError):
            return "the connection was closed before the whole answer came"
        return _words_of_system(error)


def _begins(body: object, prefix: str) -> bool:
    """Whether the id does; what is no channel is left for the parser to refuse."""
    id_ = body.get("id") if isinstance(body, dict) else None
    return not isinstance(id_, str) or id_.startswith(prefix)


def _path(*names: str) -> str:
    """Join names to a path, each one segment of it: `/` within a name becomes `%2F`.

    Refuses a name with an empty, `.` or `..` part: it would lead to another thing than it says
    (for a recording: to another directory of the PBX).
    """
    for name in names:
        if not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise ValueError(f"{name!r} cannot be a name in ARI")
    return "".join("/" + quote(name, safe="") for name in names)


def _or_none(get: Callable[[], _Value]) -> _Value | None:
    try:
        return get()
    except AriNotFound:
        return None


def _json(response: requests.Response) -> object:
    try:
        body: object = response.json()
    except requests.JSONDecodeError as error:
        raise AriProtocolError("the answer", "its body", "is not JSON") from error
    return body


def _items(body: object) -> list[object]:
    if isinstance(body, list):
        return body
    raise AriProtocolError("the answer", "its body", "is not a list")


def _raise_unless_ok(response: requests.Response, method: str, path: str) -> None:
    if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
        raise error_for(response.status_code, _message(response), method=method, path=path)


def _message(response: requests.Response) -> str | None:
    """ARI's own sentence about what went wrong; None when the answer is not ARI's."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return None
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else None


def _announced_bytes(response: requests.Response) -> int:
    """The length of a file; Asterisk announces a negative one above 2 GiB."""
    announced = response.headers.get("Content-Length", "")
    if not announced.isdecimal():
        raise AriProtocolError("the file", "Content-Length", "is not a length")
    return int(announced)


def _is_within(error: requests.RequestException, kind: type[Exception]) -> bool:
    """Whether requests made this error of one of urllib3's."""
    return bool(error.args) and isinstance(error.args[0], kind)


def _words_of_system(error: BaseException) -> str:
    """The operating system's reason: the words around it repeat the address and the query."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"no connection ({type(error).__name__})"
