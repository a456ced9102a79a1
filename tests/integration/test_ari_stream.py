"""The event stream on a real Asterisk that is killed, frozen, slow or shared."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from ari_lab import Item, client, hang_up_all, running_asterisk, take

from lab.asterisk import Asterisk
from lab.waiting import until
from recorder.ari import (
    ApplicationReplaced,
    Ari,
    ChannelCreated,
    Connected,
    Disconnected,
    Event,
    EventStream,
)


@pytest.fixture(scope="module")
def asterisk() -> Iterator[Asterisk]:
    with running_asterisk() as asterisk:
        yield asterisk


@pytest.fixture
def ari(asterisk: Asterisk) -> Iterator[Ari]:
    with client(asterisk) as ari:
        yield ari
    hang_up_all(asterisk)


def place_call(ari: Ari) -> str:
    """Place a call between two channels that are not ours."""
    channel_id = str(uuid4())
    ari.originate("Local/wait@lab/n", channel_id=channel_id, context="lab", exten="wait")
    return channel_id


def gets_events(events: EventStream, ari: Ari) -> bool:
    """Return whether the events of a new call arrive."""
    channel_id = place_call(ari)
    return bool(take(events, ChannelCreated, lambda event: event.channel.id == channel_id))


def all_queued(events: EventStream) -> list[Item]:
    items: list[Item] = []
    while item := events.next(timeout_s=0):
        items.append(item)
    return items


def test_connected_comes_before_the_first_event(ari: Ari) -> None:
    """`Connected` comes first, and then the events of every channel."""
    with EventStream(ari) as events:
        first = events.next(timeout_s=5)
        assert isinstance(first, Connected)
        channel_id = place_call(ari)
        created = take(events, ChannelCreated)
    assert created.channel.id == channel_id
    assert created.application == ari.application
    # Asterisk writes whole milliseconds.
    assert created.at >= first.at.replace(microsecond=first.at.microsecond // 1000 * 1000)


def test_without_subscribe_all_only_our_channels_have_events(ari: Ari) -> None:
    """Without `subscribe_all` no event of another channel arrives."""
    with EventStream(ari, subscribe_all=False) as events:
        take(events, Connected)
        place_call(ari)
        until(lambda: [one.state for one in ari.list_channels()] == ["Up", "Up"])
        ari.post_user_event("marker")
        kinds = [type(events.next(timeout_s=5)).__name__]
    assert kinds == ["ChannelUserevent"]


def test_only_allowed_events_come(ari: Ari) -> None:
    """The filter works from the first event on, during a call with dozens of other events."""
    with EventStream(ari, allowed=["ChannelCreated", "ChannelUserevent"]) as events:
        take(events, Connected)
        place_call(ari)
        until(lambda: [one.state for one in ari.list_channels()] == ["Up", "Up"])
        ari.post_user_event("marker")
        kinds: list[str] = []
        while kinds[-1:] != ["ChannelUserevent"]:
            kinds.append(type(events.next(timeout_s=5)).__name__)
    assert kinds == ["ChannelCreated", "ChannelCreated", "ChannelUserevent"]


def test_a_killed_asterisk_is_a_gap_and_comes_back(asterisk: Asterisk, ari: Ari) -> None:
    """kill -9 gives one Disconnected, its return one Connected, and then events again."""
    with EventStream(ari) as events:
        take(events, Connected)
        assert gets_events(events, ari)
        asterisk.kill()
        lost = take(events, Disconnected)
        asterisk.start()
        took_up = take(events, Connected, timeout_s=10)
        assert gets_events(events, ari)
    assert not lost.fatal
    assert lost.reason
    assert took_up.at > lost.at


def test_a_reason_comes_once(ari: Ari) -> None:
    """A PBX that stays away gives one Disconnected, not one for every attempt."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Ari(url, "recorder", "secret", "test") as nobody, EventStream(nobody) as events:
        first = events.next(timeout_s=5)
        assert isinstance(first, Disconnected)
        assert (first.reason, first.fatal) == ("GET /events: Connection refused", False)
        assert events.next(timeout_s=1.5) is None


def test_a_frozen_asterisk_is_disconnected(asterisk: Asterisk, ari: Ari) -> None:
    """A frozen PBX with open connections is noticed by its missing pong."""
    assert asterisk.pid is not None
    with EventStream(ari, ping_interval_s=0.2, pong_timeout_s=1.0) as events:
        take(events, Connected)
        os.kill(asterisk.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            lost = take(events, Disconnected)
            took_s = time.monotonic() - began
        finally:
            os.kill(asterisk.pid, signal.SIGCONT)
        take(events, Connected, timeout_s=10)
        assert gets_events(events, ari)
    assert "no sign of life within 1 s" in lost.reason
    assert took_s < 5


def test_a_quiet_asterisk_is_alive(ari: Ari) -> None:
    """Pongs alone keep the connection, for many ping intervals."""
    with EventStream(ari, ping_interval_s=0.05, pong_timeout_s=1.0) as events:
        take(events, Connected)
        assert events.next(timeout_s=1.0) is None
        assert gets_events(events, ari)


def test_a_full_queue_is_a_gap(ari: Ari) -> None:
    """The queue keeps its events in order, then Disconnected; the stream reconnects later."""
    with EventStream(ari, queue_size=10) as events:
        take(events, Connected)
        place_call(ari)
        until(lambda: [one.state for one in ari.list_channels()] == ["Up", "Up"])
        place_call(ari)
        # The reader does not reconnect while nobody reads the queue.
        until(lambda: events.unread == 11)
        items = all_queued(events)
        take(events, Connected)
        assert gets_events(events, ari)
    assert all(isinstance(item, Event) for item in items[:10])
    last = items[10]
    assert isinstance(last, Disconnected)
    assert (last.reason, last.fatal) == ("10 events wait unread", False)


def test_another_client_of_the_same_name_is_not_fought(asterisk: Asterisk, ari: Ari) -> None:
    """A replaced stream is fatally disconnected, and leaves the other client alone for a while."""
    with client(asterisk) as other_ari, EventStream(ari) as events:
        take(events, Connected)
        with EventStream(other_ari) as other:
            take(other, Connected)
            replaced = take(events, ApplicationReplaced)
            lost = events.next(timeout_s=5)
            assert events.next(timeout_s=2) is None
            assert gets_events(other, ari)
    assert replaced.application == ari.application
    assert isinstance(lost, Disconnected)
    assert lost.fatal


def test_a_wrong_password_is_fatal(asterisk: Asterisk) -> None:
    """A refused user is a fatal Disconnected."""
    with (
        Ari(asterisk.ari_url, asterisk.username, "wrong", "test") as ari,
        EventStream(ari) as events,
    ):
        lost = events.next(timeout_s=5)
        assert events.next(timeout_s=0.5) is None
    assert isinstance(lost, Disconnected)
    assert lost.fatal
    assert lost.reason.startswith("GET /events: 401 ")
    assert "wrong" not in lost.reason


def test_close_wakes_the_consumer_and_ends_the_thread(ari: Ari) -> None:
    """A waiting consumer gets None at once, and the thread ends."""
    events = EventStream(ari)
    events.start()
    take(events, Connected)
    answers: list[Item | None] = []
    consumer = threading.Thread(target=lambda: answers.append(events.next(timeout_s=30)))
    consumer.start()
    began = time.monotonic()
    events.close()
    consumer.join(timeout=5)
    assert time.monotonic() - began < 1
    assert answers == [None]
    assert not [one for one in threading.enumerate() if one.name == "ari-events"]


def test_closing_during_calls_never_locks_up_asterisk(asterisk: Asterisk, ari: Ari) -> None:
    """After many streams that close during calls, Asterisk still accepts the next stream."""
    for _ in range(30):
        with EventStream(ari) as events:
            take(events, Connected)
            place_call(ari)
        hang_up_all(asterisk)
    with EventStream(ari) as events:
        take(events, Connected)
        assert gets_events(events, ari)


def test_asterisk_has_nothing_to_warn_about(asterisk: Asterisk, ari: Ari) -> None:
    """A closed stream sends a close frame, so that Asterisk logs no warning."""
    before = (asterisk.directory / "log/messages.log").read_text()
    with EventStream(ari) as events:
        take(events, Connected)
    until(
        lambda: asterisk.ari_response("GET", f"/applications/{ari.application}").status_code == 404
    )
    after = (asterisk.directory / "log/messages.log").read_text()
    assert after.removeprefix(before) == ""
