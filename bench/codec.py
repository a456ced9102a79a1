"""Measure the cost of rendering a call, beside the bare encoder and ffmpeg.

    python bench/codec.py [--seconds 10 300 7200] [--formats opus mp3 flac] [--tracks 5]

All ways run on the same sound of two sides at 8 kHz:

- ours: `render` as a whole: read two files, join, find peaks and talk, encode, hash
- bare: the encoder's library alone, with our settings, on one joined file in a loop
- ffmpeg: a process for each call, as in a script, with its own settings

Each length ends with a line for a conference of `--tracks` people in the layout `tracks`: `render`
makes Opus of the two sides' files in turns, one for each track.

CPU is the user and system time of a call, the best of some rounds in one process; each way and line
has a new process. Memory is the peak of this process. Without ffmpeg its lines are missing, with a
note.
"""

# ruff: noqa: PLC0415  the process of each line loads only its own libraries
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RATE = 8_000
BLOCK = 4 * RATE
FORMATS = ("opus", "mp3", "flac")
WAYS = ("ours", "bare", "ffmpeg")
FFMPEG_CODECS = {
    "opus": ["-c:a", "libopus", "-application", "voip", "-b:a", "32k"],
    "mp3": ["-c:a", "libmp3lame", "-b:a", "64k"],
    "flac": ["-c:a", "flac"],
}
MOST_ROUNDS, MEASURED_S = 20, 900  # rounds, until this much sound was encoded; the best one counts


def main() -> None:
    """Print a table; `--one` starts the process of one line."""
    options = _arguments()
    if options.one:
        print(json.dumps(measure(*options.one[:2], int(options.one[2]), Path(options.one[3]))))
        return
    ways = [way for way in WAYS if way != "ffmpeg" or shutil.which("ffmpeg")]
    if "ffmpeg" not in ways:
        print("ffmpeg is not installed: left out", file=sys.stderr)
    print(f"{'':23}" + "".join(f"{way:>12} CPU s {'MB':>5}" for way in ways) + "   CPU, ours to")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in options.seconds:
            _ask("sound", "-", seconds, folder)
            for format in options.formats:
                _print_line(format, seconds, [_ask(way, format, seconds, folder) for way in ways])
            cost = _ask("tracks", str(options.tracks), seconds, folder)
            _print_line(f"opus, {options.tracks} tracks", seconds, [cost])


def measure(way: str, format: str, seconds: int, folder: Path) -> dict[str, float]:
    """Return CPU seconds and peak MB of one call in this process; `sound` writes the input."""
    if way == "sound":
        write_sound(folder, seconds)
        return {}
    if way == "ffmpeg":
        return _cost(lambda: run_ffmpeg(folder, format), resource.RUSAGE_CHILDREN, seconds)
    work = {"ours": render_ours, "tracks": render_tracks}.get(way) or BARE[format]
    return _cost(lambda: work(folder, format), resource.RUSAGE_SELF, seconds)


def render_ours(folder: Path, format: str) -> None:
    """Render two captured files."""
    from recorder.audio import Piece, render

    pieces = [Piece(folder / f"{side}.wav", side, 0.0, None) for side in ("left", "right")]
    render(pieces, layout="dual", format=format, target=folder / f"ours.{format}")


def render_tracks(folder: Path, count: str) -> None:
    """Render a file for each of so many people."""
    from recorder.audio import Piece, render

    files = [folder / f"{('left', 'right')[track % 2]}.wav" for track in range(int(count))]
    pieces = [Piece(path, "right", 0.0, None, track=track) for track, path in enumerate(files)]
    render(pieces, layout="tracks", format="opus", target=folder / "tracks.opus")


def run_ffmpeg(folder: Path, format: str) -> None:
    """Do the same with one command of ffmpeg."""
    inputs = [word for side in ("left", "right") for word in ("-i", str(folder / f"{side}.wav"))]
    join = ["-filter_complex", "[0:a][1:a]join=inputs=2:channel_layout=stereo"]
    target = str(folder / f"ffmpeg.{format}")
    quiet = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y"]
    subprocess.run([*quiet, *inputs, *join, *FFMPEG_CODECS[format], target], check=True)


def encode_opus(folder: Path, format: str) -> None:
    """Encode with PyAV alone."""
    import av

    from recorder.audio import encode

    options = {
        "application": "voip",
        "compression_level": str(encode.OPUS_COMPLEXITY["narrow"]),
        "frame_duration": str(encode.OPUS_FRAME_MS),
        "mapping_family": "255",
    }
    with av.open(str(folder / "bare.opus"), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, options=options)
        stream.codec_context.layout, stream.codec_context.format = "stereo", "s16"
        stream.codec_context.bit_rate = 2 * encode.OPUS_SIDE_BITS_S["narrow"]
        for number, block in enumerate(_blocks(folder)):
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16", "stereo")
            frame.sample_rate, frame.pts = RATE, number * BLOCK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def encode_mp3(folder: Path, format: str) -> None:
    """Encode with LAME alone."""
    import lameenc

    from recorder.audio import encode

    lame = lameenc.Encoder()
    lame.silence()
    lame.set_in_sample_rate(RATE)
    lame.set_out_sample_rate(RATE)
    lame.set_bit_rate(2 * encode.MP3_SIDE_KBITS_S)
    lame.set_quality(encode.MP3_QUALITY)
    with (folder / "bare.mp3").open("wb") as file:
        for block in _blocks(folder):
            file.write(lame.encode(block.tobytes()))
        file.write(lame.flush())


def encode_flac(folder: Path, format: str) -> None:
    """Encode with libsndfile alone."""
    import soundfile

    with soundfile.SoundFile(str(folder / "bare.flac"), "w", RATE, 2, "PCM_16") as file:
        for block in _blocks(folder):
            file.write(block)


BARE: dict[str, Callable[[Path, str], None]] = {
    "opus": encode_opus,
    "mp3": encode_mp3,
    "flac": encode_flac,
}


def write_sound(folder: Path, seconds: int) -> None:
    """Write two sides that talk in turns over a faint noise: left.wav, right.wav, both.pcm."""
    import numpy as np
    import soundfile

    random = np.random.default_rng(1)
    files = [
        soundfile.SoundFile(str(folder / f"{side}.wav"), "w", RATE, 1, "PCM_16")
        for side in ("left", "right")
    ]
    with files[0], files[1], (folder / "both.pcm").open("wb") as both:
        for turn in range(0, seconds, 2):
            length = min(2, seconds - turn) * RATE
            sound = random.normal(0, 25, (length, 2))
            sound[:, turn // 2 % 2] += _words(turn, length)
            block = sound.astype(np.int16)
            for channel, file in enumerate(files):
                file.write(block[:, channel])
            both.write(block.tobytes())


def _words(turn: int, length: int):  # type: ignore[no-untyped-def]
    """Return a sound like speech: the harmonics of a wandering voice, in syllables."""
    import numpy as np

    at = turn + np.arange(length) / RATE
    phase = 2 * np.pi * (140 * at + 4 * np.sin(2 * np.pi * 0.9 * at))
    voice = sum(np.sin(order * phase) / order for order in range(1, 24))
    return 3_000 * voice * np.clip(np.sin(2 * np.pi * 2.2 * at), 0, 1)


def _blocks(folder: Path):  # type: ignore[no-untyped-def]
    import numpy as np

    with (folder / "both.pcm").open("rb") as file:
        while data := file.read(4 * BLOCK):
            yield np.frombuffer(data, np.int16).reshape(-1, 2)


def _cost(work: Callable[[], None], who: int, seconds: int) -> dict[str, float]:
    rounds = min(MOST_ROUNDS, max(1, MEASURED_S // seconds))
    return {"cpu_s": min(_time(work, who) for _ in range(rounds)), "peak_mb": _peak_mb(who)}


def _time(work: Callable[[], None], who: int) -> float:
    before = _cpu_s(who)
    work()
    return _cpu_s(who) - before


def _cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _peak_mb(who: int) -> float:
    # Read /proc for this process: ru_maxrss also counts its time before exec.
    if who == resource.RUSAGE_SELF:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1_024
    return resource.getrusage(who).ru_maxrss / 1_024


def _ask(way: str, format: str, seconds: int, folder: str) -> dict[str, float]:
    words = [sys.executable, __file__, "--one", way, format, str(seconds), folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
    cost: dict[str, float] = json.loads(result.stdout)
    return cost


def _print_line(format: str, seconds: int, costs: list[dict[str, float]]) -> None:
    ours, *others = costs
    cells = "".join(f"{cost['cpu_s']:>18.3f} {cost['peak_mb']:>5.0f}" for cost in costs)
    named = zip(WAYS[1:], others, strict=False)
    ratios = ", ".join(f"{way} {ours['cpu_s'] / cost['cpu_s']:.2f}" for way, cost in named)
    print(f"{format:14}{seconds:>7} s {cells}   {ratios}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 300, 7_200])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--tracks", type=int, default=5)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
