"""Measure the CPU of a recording in the pipeline, in a shell script, and in the bare encoder.

The pipeline is a real worker process, with PostgreSQL, SeaweedFS and Asterisk beside it. The script
handles each call from a shell: it fetches the two sides with curl, joins and encodes them with
ffmpeg, and stores the file with `aws s3 cp`. The bare encoder is PyAV in a loop with the same
settings: it reads two files and writes one. All three run in turn, on the same speech, two calls at
a time. The CPU is of the worker, of the script's processes, and of the loop; the servers' CPU is
printed beside it.

    python bench/pipeline.py [--rounds 5] [--seconds 10 300 7200]

Needs ffmpeg (Debian's) and aws: `python3 -m venv .cache/awscli && .cache/awscli/bin/pip install
awscli`, or any `aws` on the PATH.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.clocks import children_cpu_s, process_cpu_s, server_cpu_s
from bench.rig.sound import Sides, speak
from bench.rig.works import REPOSITORY, Works
from recorder.audio.encode import CODECS
from recorder.audio.mix import BLOCK_S
from recorder.audio.probe import probe_wav

AT_ONCE = 2  # as the worker
RATE = 8_000
SERVERS = ("postgres", "weed", "asterisk")
# The pipeline makes at least so many times the recordings of the script for the same CPU.
SCRIPT_BARS: Mapping[float, float] = {10: 10.0, 300: 2.0}
# The pipeline takes at most so many times the CPU of the bare encoder.
ENCODER_BARS: Mapping[float, float] = {300: 1.25}

SCRIPT = r"""
set -eu
curl -sf -u "$ARI_USER" -o "$WORK/left.wav" "$LEFT"
curl -sf -u "$ARI_USER" -o "$WORK/right.wav" "$RIGHT"
ffmpeg -nostdin -v error -y -i "$WORK/left.wav" -i "$WORK/right.wav" \
    -filter_complex "[0:a][1:a]amerge=inputs=2" \
    -c:a libopus -b:a 32k -application voip "$WORK/call.opus"
aws --endpoint-url "$ENDPOINT" s3 cp --only-show-errors "$WORK/call.opus" "s3://$BUCKET/$KEY"
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds for one recording: of the measured program, and of each server."""

    own_s: float
    servers_s: Mapping[str, float]


def main() -> None:
    """Measure and compare; exit with 1 if a bar is missed."""
    wanted = parse_arguments()
    path = find_programs()
    with Works.running() as works:
        missed = [one for one in wanted.seconds if not compare(works, path, one, wanted.rounds)]
    raise SystemExit(bool(missed))


def parse_arguments() -> argparse.Namespace:
    """Return the lengths of the calls, and the number of rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 300, 7200])
    return parser.parse_args()


def find_programs() -> str:
    """Return the PATH of the script; exit with the name of a missing program."""
    path = os.pathsep.join([str(REPOSITORY / ".cache/awscli/bin"), os.environ["PATH"]])
    hints = {
        "curl": "apt-get install curl",
        "ffmpeg": "apt-get install ffmpeg",
        "aws": "python3 -m venv .cache/awscli && .cache/awscli/bin/pip install awscli",
    }
    missing = [
        f"{name}: {hint}" for name, hint in hints.items() if not shutil.which(name, path=path)
    ]
    if missing:
        sys.exit("missing, and to be had by\n  " + "\n  ".join(missing))
    return path


def compare(works: Works, path: str, seconds: float, rounds: int) -> bool:
    """Measure calls of one length, in turn; print, and return whether the bars are met."""
    sides = speak(works.directory, seconds)
    rounds = 1 if seconds > 1_000 else rounds
    many, few = max(AT_ONCE, round(min(40, 1_200 / seconds))), AT_ONCE * (2 if seconds < 60 else 1)
    script = prepare_script(works, path, sides)
    ours, theirs, bare = [], [], []
    with works.worker() as worker:
        works.finish(sides, AT_ONCE)  # to warm up
        for _ in range(rounds):
            finish = partial(works.finish, sides)
            ours.append(cost(lambda: process_cpu_s(worker), many, finish))
            theirs.append(cost(children_cpu_s, few, partial(side_by_side, script)))
            loop = partial(side_by_side, partial(encode, sides, works.directory))
            bare.append(cost(time.process_time, many, loop))
    return report(seconds, ours, theirs, bare)


def cost(clock: Callable[[], float], count: int, work: Callable[[int], None]) -> Cost:
    """Return the cost of `work(count)` for each of `count` recordings."""
    before = {name: server_cpu_s(name) for name in SERVERS}
    began = clock()
    work(count)
    own_s = clock() - began
    servers_s = {name: (server_cpu_s(name) - before[name]) / count for name in SERVERS}
    return Cost(own_s / count, servers_s)


def side_by_side(work: Callable[[int], None], count: int) -> None:
    """Call `work(number)` `count` times, as many at once as the worker."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(count)))


def prepare_script(works: Works, path: str, sides: Sides) -> Callable[[int], None]:
    """Return a function that runs the script for one call, in its own directory."""
    store, asterisk = works.store, works.asterisk
    environment = {
        "PATH": path,
        "HOME": str(works.directory),
        "ARI_USER": f"{asterisk.username}:{asterisk.password}",
        "LEFT": works.put_on_pbx(sides.left, f"script/{sides.duration_s:g}-left"),
        "RIGHT": works.put_on_pbx(sides.right, f"script/{sides.duration_s:g}-right"),
        "ENDPOINT": store.endpoint_url,
        "BUCKET": store.bucket,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
        "AWS_DEFAULT_REGION": store.region,
    }

    def run(number: int) -> None:
        with TemporaryDirectory(dir=works.directory) as work:
            call = environment | {"WORK": work, "KEY": f"script/{time.time_ns()}-{number}.opus"}
            subprocess.run(["sh", "-c", SCRIPT], env=call, check=True)

    return run


def encode(sides: Sides, directory: Path, number: int) -> None:
    """Run the encoder with our settings, and nothing else."""
    files = (sides.left, sides.right)
    left, right = (np.memmap(one, "<i2", "r", probe_wav(one).data_offset) for one in files)
    with CODECS["opus"].open(directory / f"bare-{number}.opus", RATE, 2) as write:
        for first in range(0, len(left), BLOCK_S * RATE):
            run = slice(first, first + BLOCK_S * RATE)
            write(np.stack((left[run], right[run])))


def report(seconds: float, ours: list[Cost], theirs: list[Cost], bare: list[Cost]) -> bool:
    """Print medians and ratios; return whether the bars are met."""
    own, script, encoder = (
        statistics.median(one.own_s for one in costs) for costs in (ours, theirs, bare)
    )
    script_bar, encoder_bar = SCRIPT_BARS.get(seconds), ENCODER_BARS.get(seconds)
    print(f"calls of {seconds:g} s, CPU for one recording")
    print(f"  pipeline      {own:8.4f} s   beside it {beside(ours)}")
    print(f"  script        {script:8.4f} s   beside it {beside(theirs)}")
    print(f"  bare encoder  {encoder:8.4f} s")
    print(f"  recordings per core-second: {script / own:.2f} of the script's{said(script_bar)}")
    print(f"  CPU: {own / encoder:.2f} of the bare encoder's{said(encoder_bar)}", flush=True)
    held = script_bar is None or script / own >= script_bar
    return held and (encoder_bar is None or own / encoder <= encoder_bar)


def beside(costs: list[Cost]) -> str:
    """Return the CPU seconds of the servers in words."""
    medians = {name: statistics.median(one.servers_s[name] for one in costs) for name in SERVERS}
    return ", ".join(f"{name} {used_s:.4f} s" for name, used_s in medians.items())


def said(bar: float | None) -> str:
    """Return the bar in words, or nothing without one."""
    return "" if bar is None else f" (bar {bar:g})"


if __name__ == "__main__":
    main()
