"""Measure CPU seconds, user and system, which do not pass while others use the cores.

Source: proc_pid_stat(5), proc_pid_status(5), getrusage(2).
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the name: the parent, and the times. The times of ended children
# are added to the parent's own when it waits for them.
_PARENT, _TIMES = 1, slice(11, 15)


def process_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, without its children."""
    _, fields = _stat(pid)
    return sum(int(ticks) for ticks in fields[_TIMES][:2]) / TICKS_S


def children_cpu_s() -> float:
    """Return the CPU seconds of our children that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def server_cpu_s(name: str) -> float:
    """Return the CPU seconds of all our descendants of this name."""
    stats = dict(_iter_stats())
    ours = {os.getpid()}
    for _ in stats:  # as deep as there are processes, at most
        found = {pid for pid, (_, fields) in stats.items() if int(fields[_PARENT]) in ours}
        if found <= ours:
            break
        ours |= found
    named = [stats[pid][1] for pid in ours & stats.keys() if stats[pid][0] == name]
    return sum(int(ticks) for fields in named for ticks in fields[_TIMES]) / TICKS_S


def peak_memory_mb(pid: int) -> float:
    """Return the peak resident memory of a process, in MB of 1,000,000 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6


def _iter_stats() -> Iterator[tuple[int, tuple[str, list[str]]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), _stat(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue


def _stat(pid: int) -> tuple[str, list[str]]:
    """Return the name of a process and the fields after it."""
    before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return before.partition("(")[2], after.split()
