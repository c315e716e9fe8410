"""Puts load on one URL with wrk, a C program: fixed requests, so many clients, so many seconds. It
starts nothing else and judges nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

SCRIPT = """
local body = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = body:read("*a")
for line in os.getenv("BENCH_HEADERS"):gmatch("[^\\n]+") do
  local name, value = line:match("^(.-): (.*)$")
  wrk.headers[name] = value
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"failed":%d,"broken":%d}\\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""
"""wrk formats the request once and sends the same bytes again and again."""

ANSWER_S_MAX = 60
"""A client's patience; the slowest contestant needs many seconds for 64 bodies of 10 MB."""


class NoGenerator(Exception):
    """wrk is not installed; the message names the package."""


class Load(msgspec.Struct, frozen=True):
    """What became of one run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    """Answers other than 2xx."""
    broken: int
    """Connections refused, cut or timed out."""

    @property
    def rate(self) -> float:
        return (self.requests - self.failed) / self.seconds


def find_generator() -> str:
    """Raises `NoGenerator`."""
    found = shutil.which("wrk")
    if found is None:
        raise NoGenerator("wrk is missing; on Debian and Ubuntu: apt-get install wrk")
    return found


def put_load(
    url: str, body: Path, headers: Mapping[str, str], *, clients: int, seconds: int
) -> Load:
    """Send the body again and again over `clients` connections kept alive."""
    script = body.with_name("wrk.lua")
    script.write_text(SCRIPT)
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    command = [find_generator(), "-t1", f"-c{clients}", f"-d{seconds}s"]
    done = subprocess.run(
        [*command, f"--timeout={ANSWER_S_MAX}s", "-s", str(script), url],
        env=os.environ | {"BENCH_BODY": str(body), "BENCH_HEADERS": lines},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(one for one in done.stdout.splitlines() if one.startswith("RESULT "))
    return msgspec.json.decode(line.removeprefix("RESULT "), type=Load, strict=False)
