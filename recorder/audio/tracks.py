"""The channels and the format of a file with a track for each person. Pure.

Measured with Chromium 156: it plays 1 to 8, 10 and 12 channels of Opus or WAV, and up to 8 of FLAC.
It refuses 9, 11 and more than 12.
"""

from collections.abc import Mapping

from storage.records import Format

# FFmpeg converts the samples of no more channels.
MOST_TRACKS = 64
# A size in a WAV file has 32 bits; its header and a last block need some room.
MOST_WAV_BYTES = 2**32 - 2**20

_MOST_CHANNELS: Mapping[Format, int] = {"mp3": 2, "flac": 8}
_PADDED = {9: 10, 11: 12}
# The channels of Opus are in the order of Vorbis; decoders put them into the order of WAV and FLAC.
# So channel n of the decoded file is track n if the channels of Opus are these tracks.
_VORBIS_ORDER: Mapping[int, tuple[int, ...]] = {
    2: (0, 1),
    3: (0, 2, 1),
    4: (0, 1, 2, 3),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}


def count_channels(tracks: int) -> int:
    """Return the number of channels for so many tracks: a number that Chromium plays, up to 12.

    Example: nine tracks take ten channels; the last one is silent.
    """
    return _PADDED.get(tracks, tracks)


def fit_format(wanted: Format, channels: int, wav_bytes: int) -> Format:
    """Return the wanted format, or Opus if that format cannot hold the sound.

    MP3 has two channels at most, FLAC eight, and WAV 4 GiB.
    """
    if channels > _MOST_CHANNELS.get(wanted, channels):
        return "opus"
    return "opus" if wanted == "wav" and wav_bytes > MOST_WAV_BYTES else wanted


def order_of_vorbis(channels: int) -> tuple[int, ...] | None:
    """Return the track of each channel of Opus, or None where its channels have no order."""
    return _VORBIS_ORDER.get(channels)
