"""Asks a few URLs again and again from a process of its own, as a load balancer does, each time
over a new connection; prints how long each answer took, as JSON, when its stdin closes."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

PAUSE_S = 0.2
"""Between two probes of one URL: far more often than any load balancer."""
TIMEOUT_S = 10


class Probe(threading.Thread):
    """Milliseconds of the answers with status 200, and what else happened."""

    def __init__(self, url: str, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.ms: list[float] = []
        self.failures: list[str] = []
        self._over = over

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            started = time.perf_counter()
            why = once(self.url)
            if why:
                self.failures.append(why)
            else:
                self.ms.append((time.perf_counter() - started) * 1000)


def once(url: str) -> str:
    """Empty after a 200; else what was wrong."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    else:
        return "" if answer.status == 200 else f"status {answer.status}"
    finally:
        connection.close()


def main(urls: list[str]) -> None:
    over = threading.Event()
    probes = [Probe(url, over) for url in urls]
    for probe in probes:
        probe.start()
    sys.stdin.read()
    over.set()
    for probe in probes:
        probe.join()
    print(json.dumps({p.url: {"ms": p.ms, "failures": p.failures} for p in probes}))


if __name__ == "__main__":
    main(sys.argv[1:])
