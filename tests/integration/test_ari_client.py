"""Every request of the ARI client, on a real Asterisk."""

import io
import socket
import time
import wave
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby
from uuid import uuid4

import pytest
from ari_lab import client, hang_up_all, running_asterisk, take

from lab.asterisk import Asterisk
from lab.waiting import until
from recorder.ari import (
    Ari,
    AriBadRequest,
    AriConflict,
    AriNotFound,
    AriServerError,
    AriUnauthorized,
    AriUnavailable,
    ChannelDialplan,
    ChannelStateChange,
    ChannelUserevent,
    Connected,
    DtmfReceived,
    Endpoint,
    EventStream,
    PlaybackFinished,
    PlaybackStarted,
    RecordingFinished,
    RecordingStarted,
    StasisEnd,
    StasisStart,
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


@pytest.fixture
def events(ari: Ari) -> Iterator[EventStream]:
    with EventStream(ari) as events:
        take(events, Connected)
        yield events


def a_name() -> str:
    return str(uuid4())


def a_channel(ari: Ari, events: EventStream, exten: str = "tone") -> str:
    """Return a channel of ours, in our application, that hears the sound of `exten`."""
    channel_id = a_name()
    ari.originate(f"Local/{exten}@lab/n", channel_id=channel_id)
    take(events, StasisStart, lambda event: event.channel.id == channel_id)
    return channel_id


def a_recording(ari: Ari, events: EventStream, channel_id: str) -> str:
    """Return the name of a recording that Asterisk has started."""
    name = f"2026-11/{a_name()}"
    ari.record_channel(channel_id, name=name)
    take(events, RecordingStarted, lambda event: event.recording.name == name)
    return name


def finished(ari: Ari, events: EventStream, name: str) -> list[int]:
    """Stop a recording and read its samples back."""
    assert ari.stop_live_recording(name)
    take(events, RecordingFinished, lambda event: event.recording.name == name)
    return fetched(ari, name)


def fetched(ari: Ari, name: str) -> list[int]:
    file = io.BytesIO()
    size_bytes = ari.fetch_stored_recording(name, file)
    assert size_bytes == len(file.getvalue())
    file.seek(0)
    with wave.open(file) as reader:
        samples = array("h", reader.readframes(reader.getnframes())).tolist()
        assert len(samples) == reader.getnframes()
    return samples


def let_pass(ari: Ari, events: EventStream, channel_id: str) -> None:
    """Let 1.4 s pass by Asterisk's own clock, with a sound of that length in another channel."""
    playback_id = a_name()
    ari.play(channel_id, "sound:hello-world", playback_id=playback_id)
    take(events, PlaybackFinished, lambda event: event.playback.id == playback_id)


def longest_sound(samples: list[int]) -> int:
    """Return the longest stretch, in samples, with more than −30 dBFS in every 20 ms."""
    return longest_run([peak > 1_000 for peak in peaks(samples)])


def longest_silence(samples: list[int]) -> int:
    """Return the longest stretch, in samples, with less than −50 dBFS in every 20 ms."""
    return longest_run([peak < 100 for peak in peaks(samples)])


def peaks(samples: list[int]) -> list[int]:
    return [max(map(abs, samples[at : at + 160])) for at in range(0, len(samples), 160)]


def longest_run(frames: list[bool]) -> int:
    return 160 * max((len(list(run)) for holds, run in groupby(frames) if holds), default=0)


# ---------------------------------------------------------------------------------- Asterisk


def test_our_application_is_connected(ari: Ari, events: EventStream) -> None:
    """Asterisk knows an application for as long as its socket is open."""
    assert ari.is_application_connected()
    assert events is not None


def test_info_and_modules(asterisk: Asterisk, ari: Ari) -> None:
    """The client reads the version, the start and the modules of Asterisk."""
    info = ari.get_info()
    assert info.version in asterisk.cli("core show version")
    assert info.entity_id
    assert info.startup_at <= info.last_reload_at
    snoop = {module.name: module for module in ari.list_modules()}["res_stasis_snoop.so"]
    assert snoop.status == "Running"


# --------------------------------------------------------------------------------- endpoints


def test_endpoints_are_found_by_their_name(ari: Ari) -> None:
    """A technology may be written in any case, an endpoint in its own alone."""
    assert ari.find_endpoint("PJSIP", "2001") == Endpoint("PJSIP", "2001", "online")
    assert ari.find_endpoint("pjsip", "2002") == Endpoint("PJSIP", "2002", "offline")
    assert ari.find_endpoint("PJSIP", "nobody") is None
    assert ari.find_endpoint("IAX2", "2001") is None
    assert [ari.has_endpoints(one) for one in ("PJSIP", "Local", "IAX2")] == [True, False, False]


# ---------------------------------------------------------------------------------- channels


def test_channels_in_our_application_are_listed(ari: Ari, events: EventStream) -> None:
    """Channels in the dialplan, or in another application, are not listed."""
    ours, other = a_name(), a_name()
    ari.originate("Local/tone@lab", channel_id=ours, app_args=["one"])
    ari.originate("Local/tone@lab", channel_id=other, context="lab", exten="wait")
    take(events, StasisStart, lambda event: event.channel.id == ours)
    assert [channel.id for channel in ari.list_own_channels()] == [ours]
    assert [channel.id for channel in ari.list_own_channels("one")] == [ours]
    assert ari.list_own_channels("two") == []
    assert [channel.id for channel in ari.list_own_channels("two", also=[other])] == [other]
    assert {ours, other} <= {channel.id for channel in ari.list_channels()}


def test_a_call_is_dialled_into_our_application(ari: Ari, events: EventStream) -> None:
    """Originate gives the channel its id, arguments, caller and variables."""
    channel_id = a_name()
    made = ari.originate(
        "Local/wait@lab/n",
        channel_id=channel_id,
        app_args=["a", "b"],
        caller_id='"Alice" <+12025550100>',
        variables={"LABEL": "grün & blau"},
    )
    started = take(events, StasisStart, lambda event: event.channel.id == channel_id)
    assert made.id == channel_id
    assert started.args == ("a", "b")
    assert (started.channel.caller.number, started.channel.caller.name) == ("+12025550100", "Alice")
    assert started.channel.variables == {"CHANNEL(linkedid)": channel_id}
    assert ari.get_variable(channel_id, "LABEL") == "grün & blau"
    assert ari.get_channel(channel_id).endpoint == "Local/wait@lab"
    assert channel_id in [channel.id for channel in ari.list_channels()]


def test_both_halves_of_a_local_channel_have_chosen_names(ari: Ari, events: EventStream) -> None:
    """The second half gets its id, and both speak the wanted codec."""
    first, second = a_name(), a_name()
    ari.originate("Local/wait@lab/n", channel_id=first, other_channel_id=second, formats="ulaw")
    take(events, StasisStart, lambda event: event.channel.id == first)
    names = [ari.get_channel(id_).name for id_ in (first, second)]
    assert [name.rpartition(";")[2] for name in names] == ["1", "2"]
    for id_ in (first, second):
        assert ari.get_variable(id_, "CHANNEL(audionativeformat)") == "(ulaw)"


def test_a_function_can_be_set_by_reading(ari: Ari, events: EventStream) -> None:
    """Reading SET() sets a function of any channel, for example its way after a bridge."""
    channel_id = a_name()
    ari.originate("Local/wait@lab/n", channel_id=channel_id, context="lab", exten="tone")
    take(events, ChannelDialplan, lambda event: event.channel.id == channel_id)
    place = "CHANNEL(after_bridge_goto)"
    assert ari.find_variable(channel_id, f"SET({place}=lab^wait^1)") == "lab^wait^1"
    assert ari.get_variable(channel_id, place) == "lab,wait,1"


def test_a_call_is_dialled_into_the_dialplan(ari: Ari, events: EventStream) -> None:
    """With a context the answered channel runs there and never enters our application."""
    channel_id = a_name()
    ari.originate("Local/wait@lab/n", channel_id=channel_id, context="lab", exten="tone")
    entered = take(
        events,
        ChannelDialplan,
        lambda event: event.channel.id == channel_id and event.app_name == "PlayTones",
    )
    assert entered.channel.dialplan.exten == "tone"


def test_variables_are_set_and_read(ari: Ari, events: EventStream) -> None:
    """A variable of our channel keeps every character."""
    channel_id = a_channel(ari, events)
    value = "a=1&b=2 +%2F #é\u2192"
    ari.set_variable(channel_id, "NOTE", value)
    assert ari.get_variable(channel_id, "NOTE") == value
    assert ari.find_variable(channel_id, "NOTE") == value
    assert ari.find_variable(channel_id, "UNSET") is None
    with pytest.raises(AriServerError, match="function"):
        ari.get_variable(channel_id, "NO_SUCH_FUNCTION(x)")


def test_linkedid_of_a_foreign_channel_is_read(ari: Ari, events: EventStream) -> None:
    """Variables of channels outside our application can be read, but not set."""
    channel_id = a_channel(ari, events)
    other = next(one for one in ari.list_channels() if one.id != channel_id)
    assert ari.get_variable(other.id, "CHANNEL(linkedid)") == channel_id
    with pytest.raises(AriConflict):
        ari.set_variable(other.id, "NOTE", "x")


def test_a_call_is_answered_and_returned(ari: Ari, events: EventStream) -> None:
    """A call in Stasis() rings until we answer, and continues at the extension that we name."""
    ari.originate("Local/ours@lab/n", channel_id=a_name(), context="lab", exten="wait")
    started = take(events, StasisStart)
    assert started.args == ("one", "two")
    assert started.channel.state == "Ring"
    channel_id = started.channel.id
    ari.answer(channel_id)
    take(events, ChannelStateChange, lambda event: event.channel.id == channel_id)
    assert ari.get_channel(channel_id).state == "Up"
    ari.continue_in_dialplan(channel_id, context="lab", exten="tone", priority=2)
    take(events, StasisEnd, lambda event: event.channel.id == channel_id)
    entered = take(
        events,
        ChannelDialplan,
        lambda event: event.channel.id == channel_id and event.app_name == "PlayTones",
    )
    assert entered.channel.dialplan.exten == "tone"
    with pytest.raises(AriConflict, match="not in Stasis"):
        ari.continue_in_dialplan(channel_id)


def test_hanging_up_twice_is_safe(ari: Ari, events: EventStream) -> None:
    """The first hang-up returns True, the second False."""
    channel_id = a_channel(ari, events)
    assert ari.hang_up(channel_id, reason="busy") is True
    until(lambda: ari.find_channel(channel_id) is None)
    assert ari.hang_up(channel_id) is False
    assert ari.find_variable(channel_id, "CHANNEL(linkedid)") is None


def test_digits_reach_the_other_side(ari: Ari, events: EventStream) -> None:
    """The channel behind ours receives the digits in order."""
    channel_id = a_channel(ari, events, "wait")
    ari.send_dtmf(channel_id, "4#")
    digits = [take(events, DtmfReceived) for _ in range(2)]
    assert [event.digit for event in digits] == ["4", "#"]
    assert all(event.channel.id != channel_id for event in digits)


def test_a_sound_is_played_and_stopped(ari: Ari, events: EventStream) -> None:
    """A playback starts, ends when we stop it, and is gone then."""
    channel_id, playback_id = a_channel(ari, events, "wait"), a_name()
    queued = ari.play(channel_id, "sound:hello-world", playback_id=playback_id)
    assert (queued.id, queued.target_uri) == (playback_id, f"channel:{channel_id}")
    started = take(events, PlaybackStarted)
    assert started.playback.media_uri == "sound:hello-world"
    assert ari.stop_playback(playback_id) is True
    ended = take(events, PlaybackFinished)
    assert ended.at - started.at < timedelta(seconds=0.5)
    assert ari.stop_playback(playback_id) is False


def test_a_muted_channel_sends_nothing(ari: Ari, events: EventStream) -> None:
    """A channel with muted input records silence, and its tone after `unmute`."""
    clock, channel_id = a_channel(ari, events, "wait"), a_channel(ari, events)
    ari.mute(channel_id, "in")
    name = a_recording(ari, events, channel_id)
    let_pass(ari, events, clock)
    assert len(finished(ari, events, name)) < 1_600
    ari.unmute(channel_id, "in")
    name = a_recording(ari, events, channel_id)
    let_pass(ari, events, clock)
    assert longest_sound(finished(ari, events, name)) > 8_000


def test_silence_is_started_and_stopped(ari: Ari, events: EventStream) -> None:
    """A channel of ours in no bridge gets silence; to stop is harmless without it."""
    channel_id = a_channel(ari, events)
    ari.stop_silence(channel_id)
    for _ in range(2):
        ari.start_silence(channel_id)
    ari.stop_silence(channel_id)
    with pytest.raises(AriNotFound):
        ari.start_silence(a_name())


def test_no_packets_are_counted_without_rtp(ari: Ari, events: EventStream) -> None:
    """A channel that is no phone's has no number of packets; `tests/pbx` has phones."""
    with pytest.raises((AriUnauthorized, AriNotFound)):
        ari.get_rtp_sent(a_channel(ari, events))
    with pytest.raises(AriNotFound):
        ari.get_rtp_sent(a_name())


# -------------------------------------------------------------------------------- recordings


def test_a_snoop_is_recorded_kept_fetched_and_deleted(ari: Ari, events: EventStream) -> None:
    """The whole life of a capture, on a channel that is not in our application."""
    ours = a_channel(ari, events)
    heard = next(one for one in ari.list_channels() if one.id != ours)
    snoop_id = a_name()
    snoop = ari.snoop(heard.id, snoop_id=snoop_id, spy="out", app_args="capture")
    assert (snoop.id, snoop.technology) == (snoop_id, "Snoop")
    started = take(events, StasisStart, lambda event: event.channel.id == snoop_id)
    assert started.args == ("capture",)
    name = f"2026-11/with space/{a_name()}"
    assert ari.record_channel(snoop_id, name=name).state in {"queued", "recording"}
    take(events, RecordingStarted, lambda event: event.recording.name == name)
    live = ari.find_live_recording(name)
    assert live is not None
    assert (live.state, live.target_uri) == ("recording", f"channel:{snoop_id}")
    let_pass(ari, events, ours)
    assert longest_sound(finished(ari, events, name)) > 8_000
    assert ari.find_live_recording(name) is None
    assert ari.stop_live_recording(name) is False
    assert ari.find_stored_recording(name) in ari.list_stored_recordings()
    assert ari.delete_stored_recording(name) is True
    assert ari.delete_stored_recording(name) is False
    assert ari.find_stored_recording(name) is None


def test_a_pause_cuts_time_and_a_mute_keeps_it(ari: Ari, events: EventStream) -> None:
    """A pause is missing from the file, and a muted time is silent in it."""
    clock, name = a_channel(ari, events, "wait"), a_recording(ari, events, a_channel(ari, events))
    let_pass(ari, events, clock)
    ari.pause_live_recording(name)
    until(lambda: ari.get_live_recording(name).state == "paused")
    let_pass(ari, events, clock)
    ari.resume_live_recording(name)
    until(lambda: ari.get_live_recording(name).state == "recording")
    ari.mute_live_recording(name)
    let_pass(ari, events, clock)
    ari.unmute_live_recording(name)
    samples = finished(ari, events, name)
    assert 8_000 < longest_silence(samples) < 16_000
    assert len(samples) < 8_000 * 3.5


def test_a_discarded_recording_leaves_nothing(ari: Ari, events: EventStream) -> None:
    """`discard_live_recording` ends the recording and deletes its file."""
    name = a_recording(ari, events, a_channel(ari, events))
    assert ari.discard_live_recording(name) is True
    until(lambda: ari.find_stored_recording(name) is None)
    until(lambda: ari.find_live_recording(name) is None)  # a moment after its file
    assert ari.discard_live_recording(name) is False


# ----------------------------------------------------------------------------------- bridges


def test_a_channel_is_created_and_not_dialled(ari: Ari, events: EventStream) -> None:
    """An undialled Local channel leads nowhere, exists in our application, and can be hung up."""
    made = ari.create_channel("Local/nobody@nowhere", channel_id="undialled")
    assert (made.id, made.technology, made.state) == ("undialled", "Local", "Down")
    until(lambda: "undialled" in {one.id for one in ari.list_own_channels()})
    ari.hang_up("undialled")
    until(lambda: ari.find_channel("undialled") is None)


def test_channels_meet_in_a_bridge(ari: Ari, events: EventStream) -> None:
    """A bridge is created, joined, left and destroyed; a second destruction is safe."""
    bridge_id, one, other = a_name(), a_channel(ari, events), a_channel(ari, events)
    assert ari.create_bridge(bridge_id=bridge_id).type == "mixing"
    ari.add_to_bridge(bridge_id, one, other)
    until(lambda: set(ari.get_bridge(bridge_id).channel_ids) == {one, other})
    assert bridge_id in [bridge.id for bridge in ari.list_bridges()]
    ari.remove_from_bridge(bridge_id, one)
    until(lambda: ari.get_bridge(bridge_id).channel_ids == (other,))
    with pytest.raises(AriBadRequest, match="not in this bridge"):
        ari.remove_from_bridge(bridge_id, one)
    assert ari.destroy_bridge(bridge_id) is True
    until(lambda: ari.find_bridge(bridge_id) is None)
    assert ari.destroy_bridge(bridge_id) is False
    assert ari.find_bridge(bridge_id) is None


def test_a_holding_bridge_keeps_its_participants(ari: Ari, events: EventStream) -> None:
    """A participant moves between a holding bridge and a mixing one, which a sound is played to."""
    channel_id, holding, mixing = a_channel(ari, events), a_name(), a_name()
    assert ari.create_bridge(bridge_id=holding, type="holding").type == "holding"
    ari.create_bridge(bridge_id=mixing)
    ari.add_to_bridge(holding, channel_id, role="holding_participant")
    until(lambda: ari.get_bridge(holding).channel_ids == (channel_id,))
    ari.add_to_bridge(mixing, channel_id)
    until(lambda: ari.get_bridge(mixing).channel_ids == (channel_id,))
    assert ari.get_bridge(holding).channel_ids == ()
    played = ari.play_on_bridge(mixing, "sound:hello-world", playback_id=a_name())
    assert played.target_uri == f"bridge:{mixing}"
    take(events, PlaybackStarted, lambda event: event.playback.id == played.id)
    for bridge_id in (holding, mixing):
        ari.destroy_bridge(bridge_id)


# ------------------------------------------------------------------------------------ events


def test_a_user_event_arrives(ari: Ari, events: EventStream) -> None:
    """A posted user event arrives with its fields and its channel."""
    channel_id = a_channel(ari, events)
    ari.post_user_event("greeting", source=f"channel:{channel_id}", variables={"word": "hello"})
    event = take(events, ChannelUserevent)
    assert event.eventname == "greeting"
    assert event.userevent["word"] == "hello"
    assert event.channel is not None
    assert event.channel.id == channel_id


def test_asterisk_keeps_the_filter(asterisk: Asterisk, ari: Ari, events: EventStream) -> None:
    """The filter allows only the listed types, and None removes it."""

    def allowed() -> object:
        return asterisk.ari("GET", f"/applications/{ari.application}")["events_allowed"]

    ari.set_event_filter(["Dial", "ChannelCreated"])
    assert allowed() == [{"type": "ChannelCreated"}, {"type": "Dial"}]
    ari.set_event_filter(None)
    assert allowed() == []


# ------------------------------------------------------------------------------------ errors


def test_a_missing_thing(ari: Ari, events: EventStream) -> None:
    """A request for it raises AriNotFound, with the request and Asterisk's message."""
    with pytest.raises(AriNotFound, match="Channel not found") as caught:
        ari.get_channel("nobody")
    assert (caught.value.method, caught.value.path) == ("GET", "/channels/nobody")
    assert caught.value.status == 404
    assert ari.find_channel("nobody") is None
    with pytest.raises(AriNotFound):
        ari.snoop("nobody", snoop_id=a_name(), spy="in")
    with pytest.raises(AriNotFound):
        ari.get_bridge("nobody")
    with pytest.raises(AriNotFound):
        ari.fetch_stored_recording("nothing", io.BytesIO())


def test_a_missing_application(asterisk: Asterisk) -> None:
    """An application without a socket is unknown to Asterisk."""
    with client(asterisk, "absent") as ari:
        assert not ari.is_application_connected()
        with pytest.raises(AriNotFound, match="Application not found"):
            ari.set_event_filter(["Dial"])
        with pytest.raises(AriNotFound, match="Application not found"):
            ari.post_user_event("greeting")


def test_a_taken_name(ari: Ari, events: EventStream) -> None:
    """A second use of an id or name is a conflict (for a snoop, an error 500)."""
    channel_id = a_channel(ari, events)
    with pytest.raises(AriConflict, match="already exists"):
        ari.originate("Local/tone@lab/n", channel_id=channel_id)
    name = a_recording(ari, events, channel_id)
    other = a_channel(ari, events)
    with pytest.raises(AriConflict, match="already exists"):
        ari.record_channel(other, name=name)
    snoop_id = a_name()
    ari.snoop(channel_id, snoop_id=snoop_id, spy="in")
    with pytest.raises(AriServerError, match="could not be created"):
        ari.snoop(channel_id, snoop_id=snoop_id, spy="in")


def test_a_bad_request(ari: Ari, events: EventStream) -> None:
    """An unknown format or reason is AriBadRequest."""
    channel_id = a_channel(ari, events)
    with pytest.raises(AriBadRequest, match="format"):
        ari.record_channel(channel_id, name=a_name(), format="papyrus")
    with pytest.raises(AriBadRequest, match="reason"):
        ari.hang_up(channel_id, reason="boredom")


def test_a_wrong_password(asterisk: Asterisk) -> None:
    """A wrong password is AriUnauthorized."""
    with (
        Ari(asterisk.ari_url, asterisk.username, "wrong") as ari,
        pytest.raises(AriUnauthorized) as caught,
    ):
        ari.get_info()
    assert caught.value.status == 401


def test_a_read_only_user(asterisk: Asterisk) -> None:
    """A missing right is AriUnauthorized too, with Asterisk's message."""
    with Ari(asterisk.ari_url, "reader", "reader") as ari:
        until(lambda: ari.list_channels() == [])  # those of other tests are on their way out
        with pytest.raises(AriUnauthorized, match="Write access denied") as caught:
            ari.hang_up("nobody")
    assert caught.value.status == 403


def test_nobody_answers() -> None:
    """A closed port is AriUnavailable at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        Ari(f"http://127.0.0.1:{port}", "recorder", "secret") as ari,
        pytest.raises(AriUnavailable, match="GET /channels: Connection refused") as caught,
    ):
        ari.list_channels()
    assert caught.value.status is None


def test_an_unknown_host() -> None:
    """An unknown host is AriUnavailable, with the message of the system."""
    with (
        Ari("http://pbx.invalid:8088", "recorder", "secret") as ari,
        pytest.raises(AriUnavailable, match=r"GET /channels: .*[Nn]ame"),
    ):
        ari.list_channels()


def test_an_asterisk_that_hangs(asterisk: Asterisk) -> None:
    """A silent server is AriUnavailable after the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        with (
            Ari(url, "recorder", "secret", timeout_s=0.3) as ari,
            pytest.raises(AriUnavailable, match=r"no answer within 0\.3 s"),
        ):
            ari.list_channels()
    assert time.monotonic() - began < 2


def test_an_unloaded_ari_is_unavailable(asterisk: Asterisk, ari: Ari) -> None:
    """Without ARI's modules a recording is unavailable, not gone."""
    asterisk.cli("module unload res_ari_recordings.so")
    try:
        with pytest.raises(AriUnavailable, match="ARI is not loaded"):
            ari.find_stored_recording("anything")
    finally:
        asterisk.cli("module load res_ari_recordings.so")
    assert ari.find_stored_recording("anything") is None


def test_threads_share_a_client(ari: Ari, events: EventStream) -> None:
    """Eight threads send requests at once, and each gets its own answers."""
    channel_id = a_channel(ari, events)
    names = [f"N{number}" for number in range(200)]

    def there_and_back(name: str) -> str:
        ari.set_variable(channel_id, name, f"value of {name}")
        return ari.get_variable(channel_id, name)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(there_and_back, names)) == [f"value of {name}" for name in names]
