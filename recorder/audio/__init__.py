"""The recorded sound: what a file from the PBX holds, and the one file that is kept of a call."""

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
