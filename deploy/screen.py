"""What `ocr-fleet up` writes: the services' log lines with their names in front, its own messages,
and one table. Plain where no terminal is, coloured where one is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, Final, TextIO

import click

COLORS: Final = ("cyan", "green", "magenta", "yellow", "blue")

OWN_NAME: Final = "fleet"


class Screen:
    """One per supervisor. `gone` is called when nobody reads any more."""

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if isinstance(self._stream, TextIOWrapper):  # a log line may hold what it cannot show
            self._stream.reconfigure(errors="backslashreplace")
        self.colored = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._width = max(len(name) for name in (*names, OWN_NAME))
        self._colors = {name: COLORS[at % len(COLORS)] for at, name in enumerate(names)}
        self._lost = False
        self.gone: Callable[[], None] = lambda: None

    def pass_on(self, name: str, line: str) -> None:
        """A service's line."""
        self._write(f"{self._prefix(name, self._colors.get(name))}{line}\n")

    def say(self, message: str, *, bad: bool = False) -> None:
        """A line of the supervisor's own."""
        text = self._style(message, fg="red") if bad else message
        self._write(f"{self._prefix(OWN_NAME, None)}{text}\n")

    def show(self, rows: Sequence[Any], example: str, summary: str) -> None:
        """The table, and a command to paste."""
        self._write("\n" + self._table(rows))
        if example:
            self._write(f"\nTry it:\n\n    {self._style(example, bold=True)}\n")
        self._write(f"\n{summary}\n\n")

    def _table(self, rows: Sequence[Any]) -> str:
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - while the services start, not before
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("service", "URL", "model", "engine"):
            table.add_column(name, no_wrap=True)
        table.add_column("state", overflow="fold")
        for row in rows:
            style = {"ready": "green", "failed": "red"}.get(row.state.split(":")[0], "yellow")
            table.add_row(
                row.service, Text(row.url), row.model, row.engine, Text(row.state, style=style)
            )
        # A pipe has no width: nothing is to be folded there.
        width = None if self._stream.isatty() else 400
        console = Console(
            file=self._stream, width=width, color_system="auto" if self.colored else None
        )
        with console.capture() as capture:
            console.print(table)
        lines = [line.rstrip() for line in capture.get().splitlines()]
        return "".join(f"{line}\n" for line in lines if click.unstyle(line))

    def _prefix(self, name: str, color: str | None) -> str:
        return self._style(f"{name:<{self._width}} | ", fg=color, dim=color is None)

    def _style(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self.colored else text

    def _write(self, text: str) -> None:
        if self._lost:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a closed pipe, a terminal that is gone
            self._lost = True
            self.gone()
