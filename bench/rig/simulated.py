"""Simulate a PBX with very many calls, over ARI: the events of one real call, for each call.

    python bench/rig/simulated.py TRACE PORT CALLS RATE CONFERENCES MERGES HELD

TRACE is a JSON file: `info` is the answer of `/asterisk/info`, `events` are the events of the real
call, each with its `after_s`. CALLS calls are up at the start. Of these, 20 for each of the
CONFERENCES are members of a room, each with a linkedid of its own; another 10 for each of HELD are
members of a conference that Earwitness holds (`bench/rig/held.py`), and can be recorded. After
`POST /begin` the oldest calls end and new calls start, and MERGES times a second an attended
transfer joins two calls: both callers stay in one bridge. Each room swaps a member every 10
seconds; `POST /join` swaps one of a held conference. Without the latter, all of these together are
RATE events a second. Each event comes as long after the call's first as in the trace. `POST /pause`
starts no more calls. `GET /state` returns the live calls, the id and the start of the newest one,
and the number of events sent. Each channel has `channelvars`, as our documentation wants them.
Requests that a watcher does not send are answered with 404.
"""

import asyncio
import heapq
import json
import re
import sys
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench.rig.held import HELD_MEMBERS, Captures, held_bridge_id, person_channel
from recorder.names import parse_person_id

TICK_S = 0.01
AGENTS = 5000
MEMBERS = 20
SWAP_EVERY_S = 10.0
CHANNEL = re.compile(r"/ari/channels/([^/]+)/variable")


class Script:
    """The events of one call, with a mark in place of each value that belongs to this call."""

    def __init__(self, trace: list[dict[str, Any]]) -> None:
        created = [one for one in trace if one["event"]["type"] == "ChannelCreated"]
        first, second = (one["event"]["channel"] for one in created)
        entered = [
            n for n, one in enumerate(trace) if one["event"]["type"] == "ChannelEnteredBridge"
        ]
        bridge = trace[entered[-1]]["event"]["bridge"]
        self._marks = [
            (second["id"], "@second@"),
            (first["id"], "@first@"),
            (bridge["id"], "@bridge@"),
            (first["name"], "PJSIP/trunk-@n@"),
            (second["name"], "PJSIP/@agent@-@n@"),
        ]
        for one in trace:
            if "channel" in one["event"]:
                one["event"]["channel"]["channelvars"] = {"CHANNEL(linkedid)": first["id"]}
        texts = [(one["after_s"], self._marked(one["event"])) for one in trace]
        self.begin, self.end = texts[: entered[-1] + 1], texts[entered[-1] + 1 :]
        self.end = [(after_s - self.end[0][0], text) for after_s, text in self.end]
        known = {}
        for one in trace[: entered[-1] + 1]:
            if "channel" in one["event"]:
                known[one["event"]["channel"]["id"]] = one["event"]["channel"]
        self.channels = [self._marked(one | {"state": "Up"}) for one in known.values()]
        self._texts = [text for _, text in self.begin + self.end]
        self.bridge = self._marked(bridge)

    def find(self, type_: str, mark: str) -> str:
        """Return the event of this type about a channel: `@first@` or `@second@`."""
        for text in self._texts:
            event = json.loads(text)
            if event["type"] == type_ and event.get("channel", {}).get("id") == mark:
                return text
        raise LookupError(f"the trace has no {type_} of {mark}")

    def _marked(self, body: dict[str, Any]) -> str:
        text = json.dumps(_with_marked_times(body))
        for own, mark in self._marks:
            text = text.replace(own, mark)
        return text


def _with_marked_times(body: Any) -> Any:
    if isinstance(body, dict):
        times = {"timestamp": "@now@", "creationtime": "@began@"}
        return {name: times.get(name) or _with_marked_times(one) for name, one in body.items()}
    return [_with_marked_times(one) for one in body] if isinstance(body, list) else body


class Call:
    """One simulated call; `first` is the id of its first channel, if that is a given one."""

    def __init__(self, number: int, script: Script, first: str = "") -> None:
        self.began = _now()
        self.first, self.second = first or f"9{number:09}.1", f"9{number:09}.2"
        self._own = {
            "@first@": self.first,
            "@second@": self.second,
            "@bridge@": f"bridge-{number:09}",
            "@agent@": str(20000 + number % AGENTS),
            "@n@": f"{number:08x}",
            "@began@": self.began,
        }
        self.channels = [self.fill(text) for text in script.channels]
        self.bridge = self.fill(script.bridge)
        self.is_merged = False

    def fill(self, text: str) -> str:
        """Return a text of the script with the values of this call, at this moment."""
        for mark, own in self._own.items():
            text = text.replace(mark, own)
        return text.replace("@now@", _now())


class Room:
    """A conference; its members are calls of one channel."""

    def __init__(self, id_: str, members: Iterable[Call]) -> None:
        self.id = id_
        self.members = deque(members)

    def bridge(self, like: str) -> str:
        """Return the bridge with its members as JSON, in the form of another bridge."""
        ids = [one.first for one in self.members]
        return json.dumps(json.loads(like) | {"id": self.id, "channels": ids})

    def event(self, text: str, member: Call) -> str:
        """Return an event about a member's bridge, as an event about this room."""
        event = json.loads(member.fill(text))
        event["bridge"] = json.loads(self.bridge(member.bridge))
        return json.dumps(event)


class Simulated:
    """The simulated PBX."""

    def __init__(
        self,
        trace: dict[str, Any],
        *,
        calls: int,
        rate: float,
        conferences: int,
        merges: float,
        held: int,
    ) -> None:
        self._info = trace["info"]
        self._script = Script(trace["events"])
        self._made = 0
        pairs = calls - conferences * MEMBERS - held * HELD_MEMBERS
        self._live: deque[Call] = deque(self._make() for _ in range(pairs))
        self._rooms = [
            Room(f"room-{number}", (self._make() for _ in range(MEMBERS)))
            for number in range(conferences)
        ]
        self._held = {
            number: Room(
                held_bridge_id(number),
                (self._make(person_channel(number, one)) for one in range(HELD_MEMBERS)),
            )
            for number in range(held)
        }
        self._captures = Captures(self._live[0].channels[0], self._send, _now)
        find = self._script.find
        self._created = find("ChannelCreated", "@first@")
        self._entered = find("ChannelEnteredBridge", "@first@")
        self._left = {mark: find("ChannelLeftBridge", mark) for mark in ("@first@", "@second@")}
        self._ended = {mark: find("ChannelDestroyed", mark) for mark in ("@first@", "@second@")}
        self._merges_per_s, self._swaps_per_s = merges, conferences / SWAP_EVERY_S
        calls_rate = rate - 6 * merges - 4 * self._swaps_per_s
        self._per_s = calls_rate / (len(self._script.begin) + len(self._script.end))
        self._due: list[tuple[float, int, Call, str]] = []
        self._scheduled = self._sent = 0
        self._begins = False
        self._writers: list[tuple[ServerProtocol, asyncio.StreamWriter]] = []

    def _make(self, first: str = "") -> Call:
        self._made += 1
        return Call(self._made, self._script, first)

    # The calls

    async def run_calls(self) -> None:
        """Start and end calls, and send the events that are due."""
        owed, before = 0.0, time.monotonic()
        merges = swaps = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if self._begins:
                owed += (now - before) * self._per_s
                merges += (now - before) * self._merges_per_s
                swaps += (now - before) * self._swaps_per_s
            before = now
            while merges >= 1:
                merges -= 1
                self._merge()
            while swaps >= 1:
                swaps -= 1
                self._swap()
            while owed >= 1:
                owed -= 1
                self._schedule(self._live.popleft(), self._script.end, now)
                self._live.append(self._make())
                self._schedule(self._live[-1], self._script.begin, now)
            while self._due and self._due[0][0] <= now:
                _, _, call, text = heapq.heappop(self._due)
                self._send(call.fill(text))

    def _merge(self) -> None:
        """Join the callers of two calls: each agent hangs up, as after an attended transfer."""
        middle = len(self._live) // 2
        pair = [one for one in list(self._live)[middle : middle + 40] if not one.is_merged][:2]
        if len(pair) != 2:
            return
        stays, moves = pair
        for one in pair:
            one.is_merged = True
        for text in (self._left["@second@"], self._ended["@second@"], self._left["@first@"]):
            self._send(moves.fill(text))
        event = json.loads(moves.fill(self._entered))
        ids = [stays.first, stays.second, moves.first]
        event["bridge"] = json.loads(stays.bridge) | {"channels": ids}
        self._send(json.dumps(event))
        for text in (self._left["@second@"], self._ended["@second@"]):
            self._send(stays.fill(text))

    def _swap(self) -> None:
        """Let the oldest member of the next room hang up, and another one come."""
        self._rooms.append(self._rooms.pop(0))
        self._replace(self._rooms[-1], self._make())

    def _replace(self, room: Room, comer: Call) -> None:
        leaver = room.members.popleft()
        self._send(room.event(self._left["@first@"], leaver))
        self._captures.hang_up_target(leaver.first)
        self._send(leaver.fill(self._ended["@first@"]))
        room.members.append(comer)
        self._send(comer.fill(self._created))
        self._send(room.event(self._entered, comer))

    def _schedule(self, call: Call, texts: list[tuple[float, str]], now: float) -> None:
        for after_s, text in texts:
            self._scheduled += 1
            heapq.heappush(self._due, (now + after_s, self._scheduled, call, text))

    def _send(self, text: str) -> None:
        self._sent += 1
        frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
        for _, writer in self._writers:
            writer.write(frame)

    # HTTP

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target = head.decode().split(" ", 2)[:2]
                if target.startswith("/ari/events?"):
                    await self._serve_events(head, reader, writer)
                    return
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                status, body = self._answer(method, target)
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
                writer.write(b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\n" % status)
                writer.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, method: str, target: str) -> tuple[int, Any]:
        path, query = unquote(urlsplit(target).path), parse_qs(urlsplit(target).query)
        body: Any = {}
        match (method, path):
            case ("POST", "/begin" | "/pause"):
                self._begins = path == "/begin"
            case ("POST", "/join"):
                number, member = int(query["conference"][0]), int(query["member"][0])
                self._replace(self._held[number], self._make(person_channel(number, member)))
            case ("GET", "/state"):
                body = self._state()
            case ("GET", "/ari/asterisk/info"):
                body = self._info
            case ("GET", "/ari/channels"):
                body = _listed(
                    [text for one in self._live for text in one.channels]
                    + [one.channels[0] for one in self._members()]
                    + self._captures.channels
                )
            case ("GET", "/ari/bridges"):
                body = _listed(
                    [one.bridge for one in self._live]
                    + [room.bridge(self._live[0].bridge) for room in self._all_rooms()]
                )
            case ("GET", path) if found := CHANNEL.fullmatch(path):
                is_known = query.get("variable") == ["CHANNEL(linkedid)"]
                is_held = parse_person_id(found[1]) is not None
                own = found[1] if is_held else f"{found[1].rpartition('.')[0]}.1"
                body = {"value": own if is_known else ""}
            case ("GET", path) if parse_person_id(path.removeprefix("/ari/channels/")):
                found_ = [one for one in self._members() if path.endswith(f"/{one.first}")]
                return (200, found_[0].channels[0]) if found_ else (404, {"message": "gone"})
            case ("GET", path) if path.startswith("/ari/bridges/"):
                rooms = [one for one in self._held.values() if path.endswith(f"/{one.id}")]
                like = self._live[0].bridge
                return (200, rooms[0].bridge(like)) if rooms else (404, {"message": "gone"})
            case _ if answer := self._captures.answer(method, path, query):
                return answer
            case (_, path) if not path.startswith("/ari/applications/"):
                return 404, {"message": "not simulated"}
        return 200, body

    def _all_rooms(self) -> list[Room]:
        return [*self._rooms, *self._held.values()]

    def _members(self) -> list[Call]:
        return [one for room in self._all_rooms() for one in room.members]

    def _state(self) -> dict[str, Any]:
        newest = self._live[-1]
        return {
            "live": [one.first for one in self._live] + [one.first for one in self._members()],
            "captured": self._captures.most,
            "newest": newest.first,
            "began": newest.began,
            "sent": self._sent,
            "due": len(self._due),
        }

    async def _serve_events(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve the event socket. The client sends only pings, and the protocol answers these."""
        protocol = ServerProtocol()
        protocol.receive_data(head)
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        mine = (protocol, writer)
        try:
            while True:
                for data in protocol.data_to_send():
                    writer.write(data)
                if mine not in self._writers:
                    self._writers.append(mine)
                data = await reader.read(1 << 16)
                if not data:
                    return
                protocol.receive_data(data)
                protocol.events_received()
        finally:
            self._writers.remove(mine)


def _listed(texts: Iterable[str]) -> str:
    """Join JSON texts to a list, which is quick: a PBX sends events even while it lists."""
    return "[" + ",".join(texts) + "]"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


async def run(pbx: Simulated, port: int) -> None:
    """Run until the process is killed."""
    await asyncio.start_server(pbx.serve, "127.0.0.1", port)
    await pbx.run_calls()


def main() -> None:
    """Read the arguments and run."""
    path, port, calls, rate, conferences, merges, held = sys.argv[1:]
    trace = json.loads(Path(path).read_text())
    pbx = Simulated(
        trace,
        calls=int(calls),
        rate=float(rate),
        conferences=int(conferences),
        merges=float(merges),
        held=int(held),
    )
    asyncio.run(run(pbx, int(port)))


if __name__ == "__main__":
    main()
