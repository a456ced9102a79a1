"""Measure the peak memory of a worker that finishes a short recording or a long one.

Each worker is a process of its own, with PostgreSQL, SeaweedFS and Asterisk beside it. The figure
is its peak resident memory (VmHWM), with its start. The bars: under 150 MB, and the long recording
within 5 % of the short one.

    python bench/memory.py [--seconds 10 7200]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.rig.clocks import peak_memory_mb
from bench.rig.sound import speak
from bench.rig.works import Works
from storage.records import Format

BAR_MB = 150
GROWTH_BAR = 1.05
FORMATS = ("opus", "mp3", "flac", "wav")


def main() -> None:
    """Measure each length in each format; exit with 1 if a bar is missed."""
    wanted = parse_arguments()
    missed = False
    with Works.running() as works:
        for format_ in wanted.formats:
            peaks = [measure(works, seconds, format_) for seconds in wanted.seconds]
            figures = ", ".join(
                f"{seconds:g} s: {peak:.0f} MB"
                for seconds, peak in zip(wanted.seconds, peaks, strict=True)
            )
            growth = peaks[-1] / peaks[0]
            print(f"{format_:5} {figures} (bar {BAR_MB}), {growth:.2f} times (bar {GROWTH_BAR})")
            missed = missed or max(peaks) > BAR_MB or growth > GROWTH_BAR
    raise SystemExit(missed)


def parse_arguments() -> argparse.Namespace:
    """Return the lengths of the calls, the shortest first, and their formats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 7200])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["opus"])
    return parser.parse_args()


def measure(works: Works, seconds: float, format_: Format) -> float:
    """Return the peak in MB of a worker that finishes only this recording."""
    sides = speak(works.directory, seconds)
    with works.worker() as worker:
        works.finish(sides, 1, format_)
        return peak_memory_mb(worker)


if __name__ == "__main__":
    main()
