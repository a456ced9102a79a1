"""CPU per recording: the pipeline, the script that a user would write, the bare encoder.

The pipeline is a worker process as it runs in earnest, with PostgreSQL, SeaweedFS and Asterisk
beside it. The script does for each call what can be done from a shell: fetch the two sides with
curl, join and encode them with ffmpeg, `aws s3 cp`. The bare encoder is PyAV in a loop with the
same settings: it reads two files and writes one. All three run in turn, on the same speech.
CPU is that of the worker, of the script's processes, of the loop; what the servers use for each
is told apart.

    python bench/pipeline.py [--rounds 3] [--seconds 10 300 7200]

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.clocks import children_cpu_s, process_cpu_s, server_cpu_s
from bench.rig.sound import Sides, speak
from bench.rig.works import REPOSITORY, Works
from recorder.audio.encode import CODECS
from recorder.audio.mix import BLOCK_S
from recorder.audio.probe import probe_wav

SERVERS = ("postgres", "weed", "asterisk")
# At least that many times the recordings of the script for the same CPU.
SCRIPT_BARS: Mapping[float, float] = {10: 10.0, 300: 2.0}
# At most that many times the CPU of the bare encoder.
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
    """CPU seconds for one recording: of the thing itself, and of each server beside it."""

    own_s: float
    servers_s: Mapping[str, float]


def main() -> None:
    """Measure, compare; exit status 1 where a bar is missed."""
    wanted = parse_arguments()
    path = find_programs()
    with Works.running() as works:
        missed = [one for one in wanted.seconds if not compare(works, path, one, wanted.rounds)]
    raise SystemExit(bool(missed))


def parse_arguments() -> argparse.Namespace:
    """Which calls, and how often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 300, 7200])
    return parser.parse_args()


def find_programs() -> str:
    """The PATH of the script; ends with what is missing."""
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
    """Measure calls of one length, in turn; tell, and answer whether the bars are held."""
    sides = speak(works.directory, seconds)
    rounds = 1 if seconds > 1_000 else rounds
    few, many = max(1, round(min(5, 600 / seconds))), max(1, round(min(60, 1_800 / seconds)))
    ours: list[Cost] = []
    theirs: list[Cost] = []
    bare: list[float] = []
    with works.worker() as worker:
        works.finish(sides, min(4, many))  # to warm up
        for _ in range(rounds):
            ours.append(cost(lambda: process_cpu_s(worker), many, works.finish, sides))
            theirs.append(cost(children_cpu_s, few, run_scripts(works, path), sides))
            bare.append(cost(time.process_time, many, encode, sides, works.directory).own_s)
    return tell(seconds, ours, theirs, bare)


def cost(clock: Callable[[], float], count: int, work: Callable[..., None], *what: object) -> Cost:
    """What `work(sides, count, …)` costs for each of `count` recordings."""
    before = {name: server_cpu_s(name) for name in SERVERS}
    began = clock()
    work(what[0], count, *what[1:])
    own_s = clock() - began
    servers_s = {name: (server_cpu_s(name) - before[name]) / count for name in SERVERS}
    return Cost(own_s / count, servers_s)


def run_scripts(works: Works, path: str) -> Callable[[Sides, int], None]:
    """The script, once for each call."""
    work = works.directory / "script"
    work.mkdir(exist_ok=True)
    store, asterisk = works.store, works.asterisk
    environment = {
        "PATH": path,
        "HOME": str(work),
        "WORK": str(work),
        "ARI_USER": f"{asterisk.username}:{asterisk.password}",
        "ENDPOINT": store.endpoint_url,
        "BUCKET": store.bucket,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
        "AWS_DEFAULT_REGION": store.region,
    }

    def run(sides: Sides, count: int) -> None:
        for number in range(count):
            call = environment | {
                "LEFT": works.put_on_pbx(sides.left, "script/left"),
                "RIGHT": works.put_on_pbx(sides.right, "script/right"),
                "KEY": f"script/{time.time_ns()}-{number}.opus",
            }
            subprocess.run(["sh", "-c", SCRIPT], env=call, check=True)

    return run


def encode(sides: Sides, count: int, directory: Path) -> None:
    """The encoder with our settings, in a loop, and nothing that is not needed for it."""
    for _ in range(count):
        left, right = (
            np.memmap(one, "<i2", "r", probe_wav(one).data_offset) for one in sides_of(sides)
        )
        with CODECS["opus"].open(directory / "bare.opus", 8_000, 2) as write:
            for first in range(0, len(left), BLOCK_S * 8_000):
                run = slice(first, first + BLOCK_S * 8_000)
                write(np.stack((left[run], right[run])))


def sides_of(sides: Sides) -> tuple[Path, Path]:
    """Left, right."""
    return sides.left, sides.right


def tell(seconds: float, ours: list[Cost], theirs: list[Cost], bare: list[float]) -> bool:
    """Print medians and ratios; whether the bars are held."""
    own, script = (statistics.median(one.own_s for one in costs) for costs in (ours, theirs))
    encoder = statistics.median(bare)
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
    """What the servers used."""
    medians = {name: statistics.median(one.servers_s[name] for one in costs) for name in SERVERS}
    return ", ".join(f"{name} {used_s:.4f} s" for name, used_s in medians.items())


def said(bar: float | None) -> str:
    """The bar, where there is one."""
    return "" if bar is None else f" (bar {bar:g})"


if __name__ == "__main__":
    main()
