"""Sounds for one party, on a stand-in for the PBX."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from lab.waiting import until
from recorder.ari import AriNotFound, AriUnavailable, Playback
from recorder.recording import sounds
from recorder.recording.sounds import Sound, Sounds

NOTICE, TONE = Sound("sound:notice"), Sound("tone:1400", 0.01)


class Pbx:
    """A PBX with these channels; `on_play` runs when a sound starts."""

    def __init__(self, *channels: str) -> None:
        self.channels = set(channels)
        self.snoops: dict[str, str] = {}
        self.playing: set[str] = set()
        self.played: list[tuple[str, str]] = []
        self.on_play: Callable[[str], None] = lambda _: None
        self.reachable = True
        self.requests = 0

    def snoop(self, channel_id: str, *, snoop_id: str, whisper: str) -> None:
        """Open a snoop that only the channel's own party hears."""
        is_reachable, self.requests = self.reachable, self.requests + 1
        if not is_reachable:
            raise AriUnavailable("no answer within 5 s")
        if channel_id not in self.channels:
            raise AriNotFound("Channel not found")
        assert whisper == "out"
        self.snoops[snoop_id] = channel_id

    def play(self, channel_id: str, media: str, *, playback_id: str) -> None:
        """Start a sound."""
        self.playing.add(playback_id)
        self.played.append((self.snoops[channel_id], media))
        self.on_play(playback_id)

    def find_playback(self, playback_id: str) -> Playback | None:
        """Return the playback while it lasts."""
        return playback(playback_id, "playing") if playback_id in self.playing else None

    def stop_playback(self, playback_id: str) -> bool:
        """Stop a sound; return whether it was still playing."""
        is_playing = playback_id in self.playing
        self.playing.discard(playback_id)
        return is_playing

    def hang_up(self, channel_id: str) -> bool:
        """End a snoop."""
        return self.snoops.pop(channel_id, None) is not None


def playback(id_: str, state: str) -> Playback:
    return Playback(id=id_, media_uri="sound:notice", target_uri="channel:x", state=state)


def sounds_of(pbx: Any) -> Sounds:
    return Sounds(pbx)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOOK_EVERY_S", 0.01), ("LATE_S", 0.05), ("LONGEST_S", 0.2)):
        monkeypatch.setattr(sounds, name, seconds)


@pytest.mark.parametrize(("state", "heard"), [("done", True), ("failed", False)])
def test_a_sound_ends_with_its_event(state: str, heard: bool) -> None:
    """A sound was heard if its end event says so, and its snoop is hung up."""
    pbx = Pbx("a", "b")
    player = sounds_of(pbx)
    pbx.on_play = lambda id_: player.finished(playback(id_, state))
    assert player.play(["a", "b"], NOTICE) is heard
    assert sorted(pbx.played) == [("a", "sound:notice"), ("b", "sound:notice")]
    assert pbx.snoops == {}


def test_a_tone_is_stopped() -> None:
    """A tone has no end, so it is stopped after its length."""
    pbx = Pbx("a")
    assert sounds_of(pbx).play(["a"], TONE)
    assert (pbx.playing, pbx.snoops) == (set(), {})


def test_a_party_that_hung_up_heard_nothing() -> None:
    """The others still hear the sound, but not everybody did."""
    pbx = Pbx("a")
    assert not sounds_of(pbx).play(["a", "gone"], TONE)
    assert pbx.played == [("a", "tone:1400")]


def test_a_sound_for_nobody() -> None:
    """Nobody has to hear a sound without listeners."""
    assert sounds_of(Pbx()).play([], NOTICE)


def test_a_sound_without_an_event() -> None:
    """A sound that has disappeared without an event does not count as heard."""
    pbx = Pbx("a")
    pbx.on_play = pbx.playing.discard
    assert not sounds_of(pbx).play(["a"], NOTICE)


def test_a_sound_that_never_ends() -> None:
    """A sound that plays longer than the longest time is given up."""
    pbx = Pbx("a")
    began = time.monotonic()
    assert not sounds_of(pbx).play(["a"], NOTICE)
    assert 0.2 <= time.monotonic() - began < 5
    assert pbx.snoops == {}


def test_a_pbx_that_does_not_answer() -> None:
    """The caller gets the error of ARI."""
    pbx = Pbx("a")
    pbx.reachable = False
    with pytest.raises(AriUnavailable):
        sounds_of(pbx).play(["a"], NOTICE)


def test_a_sound_in_the_background() -> None:
    """The caller goes on at once; a failure is only logged, and the next sound still plays."""
    pbx = Pbx("a")
    player = sounds_of(pbx)
    pbx.reachable = False
    player.play_soon(["a"], TONE)
    until(lambda: pbx.requests == 1)
    pbx.reachable = True
    player.play_soon(["a"], TONE, after_s=0.01)
    until(lambda: pbx.played != [] and pbx.snoops == {})
    player.close()


def test_an_event_of_another_playback() -> None:
    """An end event that is none of ours, or a second one, changes nothing."""
    pbx = Pbx("a")
    player = sounds_of(pbx)

    def end_twice(id_: str) -> None:
        player.finished(playback("other", "failed"))
        player.finished(playback(id_, "done"))
        player.finished(playback(id_, "failed"))

    pbx.on_play = end_twice
    assert player.play(["a"], NOTICE)
