"""`python -m tests.bench` runs the whole benchmark; `python -m tests.bench reading --help` and so
on run one part. It is what `make bench` calls; the soak runs only when it is named."""

from __future__ import annotations

import sys

from tests.bench import badinput, reading, router, soak, startup

PARTS = {
    "startup": startup.main,
    "badinput": badinput.main,
    "reading": reading.main,
    "router": router.main,
    "soak": soak.main,
}


def main(arguments: list[str]) -> int:
    """The named part, or all but the soak."""
    if arguments and arguments[0] in PARTS:
        return PARTS[arguments[0]](arguments[1:])
    if arguments:
        print(f"parts: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    whole: dict[str, list[str]] = {
        "startup": [],
        "badinput": [],
        "reading": [],
        "router": ["--optional"],
    }
    return max(PARTS[name](given) for name, given in whole.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
