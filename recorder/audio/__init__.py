"""Measure the WAV files of a PBX, and render them into the one file of a recording."""

from recorder.audio.probe import NotAudio, Wav, probe_wav
from recorder.audio.render import Piece, Rendition, Span, Waveform, render

__all__ = [
    "NotAudio",
    "Piece",
    "Rendition",
    "Span",
    "Wav",
    "Waveform",
    "probe_wav",
    "render",
]
