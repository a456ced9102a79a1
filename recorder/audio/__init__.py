"""Measure the WAV files of a PBX, and render them into the one file of a recording."""

from recorder.audio.drift import fitted_s, is_too_long
from recorder.audio.late import measure_late_s
from recorder.audio.probe import NotAudio, Wav, probe_wav
from recorder.audio.render import Piece, Rendition, Span, Waveform, render
from recorder.audio.tracks import MOST_TRACKS

__all__ = [
    "MOST_TRACKS",
    "NotAudio",
    "Piece",
    "Rendition",
    "Span",
    "Wav",
    "Waveform",
    "fitted_s",
    "is_too_long",
    "measure_late_s",
    "probe_wav",
    "render",
]
