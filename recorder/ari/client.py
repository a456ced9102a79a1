"""ARI's requests as typed methods.

A public client: it also has methods that this product does not call, all tested on a real Asterisk.
Names and meanings are ARI's own. `get_x` raises AriNotFound where `find_x` returns None. A method
that ends a thing returns True if it did, and False if the thing was already gone.

Every request has time-outs. None is sent twice, with one exception: a request that is safe to
repeat and whose kept-alive connection the server has just closed. Any number of threads may use
one `Ari`.
"""

import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
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
    parse_message,
)
from recorder.ari.model import (
    AsteriskInfo,
    Bridge,
    Channel,
    Endpoint,
    LiveRecording,
    Module,
    Playback,
    StoredRecording,
    parse_bridge,
    parse_channel,
    parse_endpoint,
    parse_info,
    parse_live_recording,
    parse_module,
    parse_playback,
    parse_rtp_sent,
    parse_stored_recording,
    parse_variable,
)

Direction = Literal["none", "in", "out", "both"]
MuteDirection = Literal["in", "out", "both"]
Method = Literal["GET", "POST", "PUT", "DELETE"]

_Value = TypeVar("_Value")

_SAFE_TO_REPEAT = frozenset({"GET", "PUT", "DELETE"})

# Asterisk closes a connection after 15 idle seconds (http.conf: session_keep_alive). We close ours
# earlier, because a POST that meets this moment is never repeated.
IDLE_S = 10.0


class Ari:
    """The REST interface of one Asterisk, as one user.

    `url` is Asterisk's HTTP server (`http://pbx:8088`, with the `prefix` of http.conf if it has
    one); `application` is the Stasis application for our channels.

    Example: `with Ari("http://pbx:8088", "me", "secret", "app") as ari: ari.list_channels()`.
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
        """Close the idle connections; the next request opens a new one."""
        while self._idle:
            session, _ = self._idle.pop()
            session.close()

    # ---------------------------------------------------------------------------- Asterisk

    def get_info(self) -> AsteriskInfo:
        """Return version and start of this Asterisk; also a cheap test of address and password."""
        query = {"only": "system,status"}
        return self._one(parse_info, "GET", join_path("asterisk", "info"), query)

    def is_application_connected(self) -> bool:
        """Return whether a program is connected as our application, so that channels may enter."""
        path = join_path("applications", self.application)
        return _or_none(lambda: self._one(lambda body: body, "GET", path)) is not None

    def list_modules(self) -> list[Module]:
        """Return all loaded modules."""
        return self._many(parse_module, "GET", join_path("asterisk", "modules"))

    # --------------------------------------------------------------------------- endpoints

    def find_endpoint(self, technology: str, resource: str) -> Endpoint | None:
        """Return the endpoint with this name, in the words of Asterisk, or None.

        The case of `technology` is ignored, that of `resource` counts.
        """
        path = join_path("endpoints", technology, resource)
        return _or_none(lambda: self._one(parse_endpoint, "GET", path))

    def has_endpoints(self, technology: str) -> bool:
        """Return whether Asterisk knows endpoints of this technology; `Local` has none.

        Here the case counts: `PJSIP`.
        """
        path = join_path("endpoints", technology)
        return bool(_or_none(lambda: self._many(parse_endpoint, "GET", path)))

    # ---------------------------------------------------------------------------- channels

    def list_channels(self, *, prefix: str = "") -> list[Channel]:
        """Return all channels, ours or not, whose ids begin with `prefix`.

        Asterisk sends all channels in any case, but only these are parsed, which takes longest.
        """

        def is_wanted(body: object) -> bool:
            id_ = body.get("id") if isinstance(body, dict) else None
            return not isinstance(id_, str) or id_.startswith(prefix)  # the parser refuses no-text

        return self._list_channels(is_wanted)

    def list_own_channels(
        self, argument: str | None = None, *, also: Collection[str] = ()
    ) -> list[Channel]:
        """Return the channels that are in our application now; only these are parsed.

        With `argument` return only those whose first argument it is. The channels with the ids
        `also` come too, wherever they are.
        """

        def is_wanted(body: object) -> bool:
            if not isinstance(body, dict):
                return False
            dialplan = body.get("dialplan")
            if str(body.get("id")) in also or not isinstance(dialplan, dict):
                return str(body.get("id")) in also
            application, *arguments = str(dialplan.get("app_data", "")).split(",")
            is_own = dialplan.get("app_name") == "Stasis" and application == self.application
            return is_own and (argument is None or arguments[:1] == [argument])

        return self._list_channels(is_wanted)

    def _list_channels(self, is_wanted: Callable[[object], bool]) -> list[Channel]:
        def parse(body: object) -> list[Channel]:
            return [parse_channel(one) for one in _items(body) if is_wanted(one)]

        return self._one(parse, "GET", join_path("channels"))

    def get_channel(self, channel_id: str) -> Channel:
        """Return one channel."""
        return self._one(parse_channel, "GET", join_path("channels", channel_id))

    def find_channel(self, channel_id: str) -> Channel | None:
        """Return one channel, or None if it is gone."""
        return _or_none(lambda: self.get_channel(channel_id))

    def get_variable(self, channel_id: str, name: str) -> str:
        """Return a variable or function, such as `CHANNEL(linkedid)`, of any channel.

        Raises AriNotFound for a variable that is not set, and AriServerError for a function that
        does not exist.
        """
        path = join_path("channels", channel_id, "variable")
        return self._one(parse_variable, "GET", path, {"variable": name})

    def find_variable(self, channel_id: str, name: str) -> str | None:
        """Return a variable, or None if the channel is gone or the variable is not set."""
        return _or_none(lambda: self.get_variable(channel_id, name))

    def get_rtp_sent(self, channel_id: str) -> int:
        """Return how many RTP packets Asterisk has sent to a channel.

        Raises AriUnauthorized for a channel of a technology without RTP: Asterisk answers 403. An
        older version answers 404, so AriNotFound, as for a channel that is gone.
        """
        path = join_path("channels", channel_id, "rtp_statistics")
        return self._one(parse_rtp_sent, "GET", path)

    def set_variable(self, channel_id: str, name: str, value: str) -> None:
        """Set a variable or function of a channel that is in our application."""
        path = join_path("channels", channel_id, "variable")
        self._do("POST", path, body={"variable": name, "value": value})

    def create_channel(
        self, endpoint: str, *, channel_id: str, other_id: str | None = None
    ) -> Channel:
        """Create a channel in our application that is not dialled yet.

        Example: a `Local/…` channel that nobody dials is two halves that lead nowhere; `other_id`
        is the id of the second half.
        """
        query = {"endpoint": endpoint, "app": self.application, "channelId": channel_id}
        if other_id is not None:
            query["otherChannelId"] = other_id
        return self._one(parse_channel, "POST", join_path("channels", "create"), query)

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
        other_channel_id: str = "",
        formats: str = "",
    ) -> Channel:
        """Dial `endpoint`, and bring it into our application, or the dialplan at `context`.

        It may ring for `timeout_s`, or for ever at -1. A Local channel has two halves: the second
        one gets `other_channel_id`, and both speak `formats`, such as `ulaw`. Raises AriConflict if
        the id is taken, or if this Asterisk does not have the technology.
        """
        target = (
            {"context": context, "extension": exten}
            if context
            else {"app": self.application, "appArgs": ",".join(app_args)}
        )
        query = {"endpoint": endpoint, "callerId": caller_id, "timeout": str(timeout_s)} | target
        options = {"otherChannelId": other_channel_id, "formats": formats}
        query |= {name: value for name, value in options.items() if value}
        body = {"variables": dict(variables or {})}
        return self._one(parse_channel, "POST", join_path("channels", channel_id), query, body)

    def answer(self, channel_id: str) -> None:
        """Answer a channel that is in our application."""
        self._do("POST", join_path("channels", channel_id, "answer"))

    def hang_up(self, channel_id: str, reason: str | None = None) -> bool:
        """End a channel, ours or not; `reason` is one of ARI's words, such as `busy`."""
        query = {"reason": reason} if reason else None
        return self._end("DELETE", join_path("channels", channel_id), query)

    def continue_in_dialplan(
        self, channel_id: str, *, context: str = "", exten: str = "", priority: int | None = None
    ) -> None:
        """Return a channel to the dialplan: behind its `Stasis()`, or to a named extension."""
        target = {"context": context, "extension": exten}
        query = {name: value for name, value in target.items() if value}
        if priority is not None:
            query["priority"] = str(priority)
        self._do("POST", join_path("channels", channel_id, "continue"), query)

    def mute(self, channel_id: str, direction: MuteDirection = "both") -> None:
        """Silence the audio `in` from the party, `out` to the party, or both."""
        self._do("POST", join_path("channels", channel_id, "mute"), {"direction": direction})

    def unmute(self, channel_id: str, direction: MuteDirection = "both") -> None:
        """Undo `mute`."""
        self._do("DELETE", join_path("channels", channel_id, "mute"), {"direction": direction})

    def start_silence(self, channel_id: str) -> None:
        """Send silence to a channel of ours that is in no bridge."""
        self._do("POST", join_path("channels", channel_id, "silence"))

    def stop_silence(self, channel_id: str) -> None:
        """Undo `start_silence`; harmless where there is none."""
        self._do("DELETE", join_path("channels", channel_id, "silence"))

    def send_dtmf(self, channel_id: str, digits: str) -> None:
        """Send digits to the party behind the channel, 100 ms each with 100 ms between."""
        self._do("POST", join_path("channels", channel_id, "dtmf"), {"dtmf": digits})

    def play(self, channel_id: str, media: str, *, playback_id: str) -> Playback:
        """Play `sound:NAME`, `digits:12`, `tone:ring`, … after the present playbacks."""
        path = join_path("channels", channel_id, "play", playback_id)
        return self._one(parse_playback, "POST", path, {"media": media})

    def find_playback(self, playback_id: str) -> Playback | None:
        """Return a playback that plays or waits, or None once it is over."""
        path = join_path("playbacks", playback_id)
        return _or_none(lambda: self._one(parse_playback, "GET", path))

    def stop_playback(self, playback_id: str) -> bool:
        """Stop a playback."""
        return self._end("DELETE", join_path("playbacks", playback_id))

    def snoop(
        self,
        channel_id: str,
        *,
        snoop_id: str,
        spy: Direction = "none",
        whisper: Direction = "none",
        app_args: str = "",
    ) -> Channel:
        """Create a channel that hears (`spy`) or talks into (`whisper`) another, in any state.

        The new channel enters our application with `app_args`. Raises AriNotFound if the channel
        is gone and AriServerError if `snoop_id` is taken. Look before you use an id again: an
        Asterisk that refused one takes 16 s to end on SIGTERM (measured on 22.10; `originate` too).
        """
        path = join_path("channels", channel_id, "snoop", snoop_id)
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
        """Create a channel that carries audio to and from a program; "" omits an option.

        Its `variables` have the address: `UNICASTRTP_LOCAL_PORT`, or
        `MEDIA_WEBSOCKET_CONNECTION_ID`. Raises AriConflict if the id is taken.
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
        return self._one(parse_channel, "POST", join_path("channels", "externalMedia"), query)

    # -------------------------------------------------------------------------- recordings

    def record_channel(
        self,
        channel_id: str,
        *,
        name: str,
        format: str = "wav",
        if_exists: Literal["fail", "overwrite", "append"] = "fail",
    ) -> LiveRecording:
        """Record one of our channels to a file under Asterisk's `recording` directory.

        `name` may hold directories. Raises AriConflict if the name is taken, or if the channel is
        in a bridge or not (yet) in our application, and AriBadRequest for an unknown format.
        """
        check_file_name(name)
        query = {"name": name, "format": format, "ifExists": if_exists}
        path = join_path("channels", channel_id, "record")
        return self._one(parse_live_recording, "POST", path, query)

    def record_bridge(self, bridge_id: str, *, name: str, format: str = "wav") -> LiveRecording:
        """Record the mix of a bridge. Raises AriServerError if no file can be written."""
        check_file_name(name)
        query = {"name": name, "format": format, "ifExists": "fail"}
        path = join_path("bridges", bridge_id, "record")
        return self._one(parse_live_recording, "POST", path, query)

    def get_live_recording(self, name: str) -> LiveRecording:
        """Return one running recording."""
        return self._one(parse_live_recording, "GET", _live(name))

    def find_live_recording(self, name: str) -> LiveRecording | None:
        """Return one running recording, or None if there is none of this name."""
        return _or_none(lambda: self.get_live_recording(name))

    def stop_live_recording(self, name: str) -> bool:
        """End a recording and keep the file."""
        return self._end("POST", _live(name, "stop"))

    def discard_live_recording(self, name: str) -> bool:
        """End a recording and delete its file."""
        return self._end("DELETE", _live(name))

    def pause_live_recording(self, name: str) -> None:
        """Stop writing for a while: the pause is missing from the file."""
        self._do("POST", _live(name, "pause"))

    def resume_live_recording(self, name: str) -> None:
        """Undo `pause_live_recording`."""
        self._do("DELETE", _live(name, "pause"))

    def mute_live_recording(self, name: str) -> None:
        """Write silence from now on: the file keeps its length."""
        self._do("POST", _live(name, "mute"))

    def unmute_live_recording(self, name: str) -> None:
        """Undo `mute_live_recording`."""
        self._do("DELETE", _live(name, "mute"))

    def list_stored_recordings(self) -> list[StoredRecording]:
        """Return all files under Asterisk's `recording` directory, unfinished files too."""
        return self._many(parse_stored_recording, "GET", join_path("recordings", "stored"))

    def get_stored_recording(self, name: str) -> StoredRecording:
        """Return one file under Asterisk's `recording` directory."""
        return self._one(parse_stored_recording, "GET", _stored(name))

    def find_stored_recording(self, name: str) -> StoredRecording | None:
        """Return one file under Asterisk's `recording` directory, or None."""
        return _or_none(lambda: self.get_stored_recording(name))

    def delete_stored_recording(self, name: str) -> bool:
        """Delete a file on the PBX."""
        return self._end("DELETE", _stored(name))

    def fetch_stored_recording(self, name: str, target: BinaryIO, *, chunk: int = 1 << 16) -> int:
        """Copy a file from the PBX into `target`, `chunk` bytes at a time; return its length.

        Raises AriUnavailable if the connection ends early; `target` then holds the first bytes. A
        running recording gives the part that is written so far.
        """
        path = _stored(name, "file")
        with self._answer("GET", path, stream=True) as response:
            announced = response.headers.get("Content-Length", "")
            if not announced.isdecimal():  # Asterisk announces a negative length above 2 GiB
                raise AriProtocolError("the file", "Content-Length", "is not a length")
            received = sum(target.write(block) for block in response.iter_content(chunk))
        if received != int(announced):
            raise AriUnavailable(f"{received} of {announced} bytes came", method="GET", path=path)
        return received

    # ----------------------------------------------------------------------------- bridges

    def list_bridges(self) -> list[Bridge]:
        """Return all bridges, ours or not."""
        return self._many(parse_bridge, "GET", join_path("bridges"))

    def get_bridge(self, bridge_id: str) -> Bridge:
        """Return one bridge."""
        return self._one(parse_bridge, "GET", join_path("bridges", bridge_id))

    def find_bridge(self, bridge_id: str) -> Bridge | None:
        """Return one bridge, or None if it is gone."""
        return _or_none(lambda: self.get_bridge(bridge_id))

    def create_bridge(self, *, bridge_id: str, type: str = "mixing") -> Bridge:
        """Create a bridge; `type` is `mixing` or `holding`, or with attributes after commas."""
        return self._one(parse_bridge, "POST", join_path("bridges", bridge_id), {"type": type})

    def add_to_bridge(
        self, bridge_id: str, *channel_ids: str, absorb_dtmf: bool = False, role: str = ""
    ) -> None:
        """Move channels of ours into a bridge of ours, out of their present one.

        With `absorb_dtmf` nobody in the bridge hears their keys. In a holding bridge the `role`
        `holding_participant` hears music, and without a role nobody hears anything. Raises
        AriBadRequest for a channel that is gone, or not (yet) in our application.
        """
        query = {"absorbDTMF": "true"} if absorb_dtmf else {}
        query |= {"role": role} if role else {}
        body = {"channel": list(channel_ids)}  # in a query, a comma in an id would end it
        self._do("POST", join_path("bridges", bridge_id, "addChannel"), query, body)

    def remove_from_bridge(self, bridge_id: str, *channel_ids: str) -> None:
        """Take channels out of a bridge. Raises AriBadRequest if one is not in it."""
        body = {"channel": list(channel_ids)}
        self._do("POST", join_path("bridges", bridge_id, "removeChannel"), body=body)

    def play_on_bridge(self, bridge_id: str, media: str, *, playback_id: str) -> Playback:
        """Play `sound:NAME`, `tone:ring`, … to all channels in a bridge of ours."""
        path = join_path("bridges", bridge_id, "play", playback_id)
        return self._one(parse_playback, "POST", path, {"media": media})

    def destroy_bridge(self, bridge_id: str) -> bool:
        """End a bridge; channels of ours stay in our application."""
        return self._end("DELETE", join_path("bridges", bridge_id))

    # ------------------------------------------------------------------------------ events

    def set_event_filter(self, allowed: Collection[str] | None) -> None:
        """Let Asterisk send our application only these types of events; None allows all.

        Raises AriNotFound while nobody is connected as the application.
        """
        types = [{"type": name} for name in sorted(allowed or ())]
        body = {} if allowed is None else {"allowed": types}
        self._do("PUT", join_path("applications", self.application, "eventFilter"), body=body)

    def post_user_event(
        self,
        name: str,
        *,
        application: str | None = None,
        source: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Send a ChannelUserevent to an application, by default our own.

        `source` is `channel:ID`, `bridge:ID` or "". Raises AriNotFound if nobody is connected as
        the application, or if the source does not exist.
        """
        query = {"application": application or self.application}
        query |= {"source": source} if source else {}
        body = {"variables": dict(variables or {})}
        self._do("POST", join_path("events", "user", name), query, body)

    def subscribe(self, *sources: str) -> None:
        """Subscribe our application to `channel:ID`, `bridge:ID`, …; without an ID to all of them.

        Raises AriNotFound while nobody is connected as the application.
        """
        path = join_path("applications", self.application, "subscription")
        self._do("POST", path, {"eventSource": ",".join(sources)})

    def events_url(self) -> str:
        """Return the address of the event socket, without credentials."""
        query = urlencode({"app": self.application})
        return f"ws{self.url.removeprefix('http')}/ari/events?{query}"

    def authorization(self) -> str:
        """Return the value of the HTTP header `Authorization`: a secret."""
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
            try:
                found: object = response.json()
            except requests.JSONDecodeError as error:
                raise AriProtocolError("the answer", "its body", "is not JSON") from error
            return parse(found)

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
        """Send a request and yield its successful response; raise our errors for requests' own."""
        request = requests.Request(method, self.url + "/ari" + path, params=query, json=body)
        try:
            with self._session() as session:
                send = partial(
                    session.send,
                    session.prepare_request(request),
                    stream=stream,
                    timeout=self.timeout_s,
                    allow_redirects=False,
                )
                try:
                    response = send()
                except requests.ConnectionError as error:
                    hung_up = _is_within(error, urllib3.exceptions.ProtocolError)
                    if not hung_up or method not in _SAFE_TO_REPEAT:
                        raise
                    response = send()
                with response:
                    if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
                        message = parse_message(response.content)
                        raise error_for(response.status_code, message, method=method, path=path)
                    yield response
        except requests.RequestException as error:
            reason = _describe(error, self.timeout_s)
            raise AriUnavailable(reason, method=method, path=path) from error

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """Lend the caller a session of its own: requests' sessions are not for two threads."""
        if self._idle:
            session, since = self._idle.pop()
        else:
            session, since = requests.Session(), time.monotonic()
            session.trust_env = False  # a proxy or .netrc of the environment is not for a PBX
            session.headers["Authorization"] = self.authorization()
            session.headers["Accept-Encoding"] = "identity"  # else Content-Length has no meaning
        if time.monotonic() - since > IDLE_S:
            session.close()
        try:
            yield session
        finally:
            self._idle.append((session, time.monotonic()))


def join_path(*names: str) -> str:
    """Join names to a path; each becomes one segment, so that a `/` within a name becomes `%2F`.

    The id of a channel may hold any character. Raises ValueError for an empty name.
    """
    if "" in names:
        raise ValueError("an empty text cannot be a name in ARI")
    # A segment of dots would be taken for a folder.
    return "".join(
        "/" + (quote(name, safe="") if name.strip(".") else "%2E" * len(name)) for name in names
    )


def check_file_name(name: str) -> None:
    """Raise ValueError for the name of a file with an empty, `.` or `..` part.

    It would reach a file outside of Asterisk's directory.
    """
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise ValueError(f"{name!r} cannot be a name in ARI")


def _live(name: str, *more: str) -> str:
    check_file_name(name)
    return join_path("recordings", "live", name, *more)


def _stored(name: str, *more: str) -> str:
    check_file_name(name)
    return join_path("recordings", "stored", name, *more)


def _or_none(get: Callable[[], _Value]) -> _Value | None:
    try:
        return get()
    except AriNotFound:
        return None


def _items(body: object) -> list[object]:
    if isinstance(body, list):
        return body
    raise AriProtocolError("the answer", "its body", "is not a list")


def _is_within(error: requests.RequestException, kind: type[Exception]) -> bool:
    """Return whether this error of requests wraps such an error of urllib3."""
    return bool(error.args) and isinstance(error.args[0], kind)


def _describe(error: requests.RequestException, timeout_s: float) -> str:
    """Return the reason of a failed request in words, without its address and query."""
    if isinstance(error, requests.Timeout) or _is_within(error, urllib3.exceptions.TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if _is_within(error, urllib3.exceptions.ProtocolError):
        return "the connection was closed before the whole answer came"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"no connection ({type(error).__name__})"
