"""Memory and CPU time of a process and its children, from /proc. It starts and stops nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec


class Memory(msgspec.Struct, frozen=True):
    """Resident MiB: now, and at most so far."""

    now_mib: float
    peak_mib: float


def memory(pid: int) -> Memory:
    """Summed over the process and all that descend from it; pages they share count twice."""
    each = [_status(one) for one in (pid, *descendants(pid))]
    return Memory(
        sum(kib.get("VmRSS", 0) for kib in each) / 1024,
        sum(kib.get("VmHWM", 0) for kib in each) / 1024,
    )


def forget_peak(pid: int) -> None:
    """Let `peak_mib` count from now on (proc(5), clear_refs)."""
    for one in (pid, *descendants(pid)):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def cpu_s(pid: int) -> float:
    """Seconds of CPU time, user and system, of the process and all that descend from it."""
    ticks = 0
    for one in (pid, *descendants(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
    for child in children:
        found += [child, *descendants(child)]
    return found


def _status(pid: int) -> dict[str, int]:
    """The Vm lines of a process, in KiB; none once it has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: int(kib) for name, kib in re.findall(r"^(Vm\w+):\s+(\d+) kB", text, re.MULTILINE)}
