"""The handlers submit the work of each event to the right lane, in the right order."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from recorder import ari, names
from recorder.errors import RecordingNotActive
from recorder.recording.dtmf import KeySequences
from recorder.watch.handlers import Handlers
from storage.records import Actor

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
RECORDING, SEGMENT, SPY = UUID(int=1), UUID(int=2), UUID(int=3)
OURS = ari.LiveRecording(
    names.build_recording_name(RECORDING, SEGMENT, AT), "done", "wav", "channel:1", "", None
)
OTHER = ari.LiveRecording("voicemail/1", "done", "wav", "channel:1", "", None)


class Noted:
    """Parts of the recorder that note each call, with the lane in which it runs."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, tuple[object, ...]]] = []
        self.lane = ""
        self.refuses = False

    def submit(self, key: str, work: Any, *arguments: object) -> bool:
        """Run the work of a lane at once."""
        self.lane = key
        work(*arguments)
        return True

    def part(self, *methods: str) -> Any:
        """Return a part with these methods."""
        return SimpleNamespace(**{name: self._method(name) for name in methods})

    def _method(self, name: str) -> Any:
        def method(*arguments: object, **_: object) -> Any:
            self.calls.append((self.lane, name, arguments))
            if self.refuses:
                raise RecordingNotActive("call main-1 is not recorded")
            return SimpleNamespace(id=RECORDING, state="paused")

        return method


@pytest.fixture
def noted() -> Noted:
    """Return the notes of a test."""
    return Noted()


@pytest.fixture
def sounds(noted: Noted) -> Any:
    """Return the sounds of the PBX."""
    return noted.part("finished")


@pytest.fixture
def desk() -> Any:
    """Return the desk of programs, which notes its calls apart."""
    answers = Noted()
    methods = vars(answers.part("submit", "accept", "refuse"))
    return SimpleNamespace(calls=answers.calls, actor=Actor("dialplan", "main"), **methods)


@pytest.fixture
def handlers(noted: Noted, sounds: Any, desk: Any) -> Handlers:
    """Return handlers whose parts note their calls; they know one recording, of main-1."""
    lanes: Any = noted
    return Handlers(
        lanes=lanes,
        key_of_recording={RECORDING: "main-1"}.get,
        capture=noted.part("segment_started", "segment_ended", "settle"),
        spies=noted.part("settle", "key_pressed", "phone_ended"),
        demand=noted.part("pressed", "carry_out"),
        keys=KeySequences({"*1": "toggle"}),
        sounds=sounds,
        desk=desk,
    )


def channel(id_: str) -> ari.Channel:
    """Return a channel with this id."""
    nobody = ari.Party("", "")
    return ari.Channel(id_, "PJSIP/2001-1", "Up", nobody, nobody, ari.Dialplan("", "", "", ""), AT)


def test_a_segment_that_starts_is_saved(handlers: Handlers, noted: Noted) -> None:
    """The start of a segment's file is saved with its time on the PBX's clock."""
    handlers.on_segment(ari.RecordingStarted(AT, "", OURS))
    assert noted.calls == [("main-1", "segment_started", (RECORDING, SEGMENT, AT))]


def test_segments_of_another_instance_are_ignored(handlers: Handlers, noted: Noted) -> None:
    """A recording that our catalogue does not have is another instance's, and so is its file."""
    name = names.build_recording_name(SEGMENT, SEGMENT, AT)
    handlers.on_segment(ari.RecordingStarted(AT, "", replace(OURS, name=name)))
    assert noted.calls == []


def test_a_segment_that_ends_is_saved_and_settled(handlers: Handlers, noted: Noted) -> None:
    """After the end of a segment's file its recording is settled, in the lane of the call."""
    handlers.on_segment(ari.RecordingFinished(AT, "", OURS))
    handlers.on_segment(ari.RecordingFailed(AT, "", OURS))
    assert noted.calls == [
        ("main-1", "segment_ended", (SEGMENT, AT, "finished")),
        ("main-1", "settle", (RECORDING,)),
        ("main-1", "segment_ended", (SEGMENT, AT, "failed")),
        ("main-1", "settle", (RECORDING,)),
    ]


def test_files_of_others_are_ignored(handlers: Handlers, noted: Noted) -> None:
    """A recording that another program started, such as a voicemail, is none of ours."""
    handlers.on_segment(ari.RecordingFinished(AT, "", OTHER))
    assert noted.calls == []


def test_a_supervisors_phone_moves_its_spy(handlers: Handlers, noted: Noted) -> None:
    """The answer, each key and the end of a supervisor's phone reach its spy, in the spy's lane."""
    phone, part = channel(names.build_phone_id(SPY)), names.SpyPart("phone", spy_id=SPY)
    handlers.on_spy(ari.StasisStart(AT, "", phone, ()), part)
    handlers.on_spy(ari.DtmfReceived(AT, "", phone, "5", 100), part)
    handlers.on_spy(ari.ChannelDestroyed(AT, "", phone, 16, ""), part)
    assert noted.calls == [
        (str(SPY), "settle", (SPY,)),
        (str(SPY), "key_pressed", (SPY, "5")),
        (str(SPY), "phone_ended", (SPY, 16)),
    ]


def test_other_channels_of_a_spy_move_nothing(handlers: Handlers, noted: Noted) -> None:
    """The microphone of a page is no phone: its spy follows the page, not its channel."""
    part = names.parse_spy_part(names.build_microphone_id(SPY))
    assert part is not None
    handlers.on_spy(ari.StasisStart(AT, "", channel("m"), ()), part)
    assert noted.calls == []


def test_keys_that_complete_a_sequence_are_carried_out(
    handlers: Handlers, noted: Noted, sounds: Any
) -> None:
    """The last key of a sequence carries out its function, in the lane of the call."""
    for digit in "2*1":
        handlers.on_key(ari.DtmfReceived(AT, "", channel("1"), digit, 100), "main-1")
    assert noted.calls == [("main-1", "pressed", (sounds, "main-1", "1", "toggle"))]


def test_keys_outside_a_call_are_ignored(handlers: Handlers, noted: Noted) -> None:
    """A sequence on a channel without a call does nothing."""
    for digit in "*1":
        handlers.on_key(ari.DtmfReceived(AT, "", channel("1"), digit, 100), None)
    assert noted.calls == []


@pytest.mark.parametrize("refuses", [False, True])
def test_a_command_is_carried_out(
    handlers: Handlers, noted: Noted, desk: Any, refuses: bool
) -> None:
    """A user event carries out its action in the lane of the call, and is answered."""
    noted.refuses = refuses
    event = ari.ChannelUserevent(AT, "", "earwitness", channel("1"), {"action": "pause"})
    handlers.on_command(event, "main-1")
    assert noted.calls == [("main-1", "carry_out", ("main-1", "pause"))]
    ((_, answer, (about, *result)),) = desk.calls
    assert (answer, about) == ("refuse" if refuses else "accept", event)
    ids = {"call_id": "main-1", "recording_id": str(RECORDING)}
    assert refuses or result == [{"state": "paused", **ids}]


def test_a_program_names_the_call_of_its_command(handlers: Handlers, noted: Noted) -> None:
    """The user event of a program has no channel, so it says which call is meant."""
    fields = {"action": "stop", "call": "main-2"}
    handlers.on_command(ari.ChannelUserevent(AT, "", "earwitness", None, fields), None)
    assert noted.calls == [("main-2", "carry_out", ("main-2", "stop"))]


def test_a_command_outside_a_call_is_refused(handlers: Handlers, noted: Noted, desk: Any) -> None:
    """A command for the recording of no call does nothing, and is answered."""
    event = ari.ChannelUserevent(AT, "", "earwitness", channel("1"), {"action": "stop"})
    handlers.on_command(event, None)
    ((_, answer, (about, error)),) = desk.calls
    assert (answer, about, error.error_id) == ("refuse", event, "no-such-call")
    assert noted.calls == []


@pytest.mark.parametrize("action", ["dial", "conference", "dance", ""])
def test_other_commands_go_to_the_desk(
    handlers: Handlers, noted: Noted, desk: Any, action: str
) -> None:
    """Every other command goes to the desk of programs, which knows or refuses it."""
    event = ari.ChannelUserevent(AT, "", "earwitness", channel("1"), {"action": action})
    handlers.on_command(event, "main-1")
    assert desk.calls == [("", "submit", (event, "main-1"))]
    assert noted.calls == []


def test_the_end_of_a_sound_is_handed_on(handlers: Handlers, noted: Noted) -> None:
    """The end of a playback reaches the sounds at once: a thread waits for it."""
    playback = ari.Playback("p", "sound:told", "done", "channel:1")
    handlers.on_playback(ari.PlaybackFinished(AT, "", playback))
    assert noted.calls == [("", "finished", (playback,))]
