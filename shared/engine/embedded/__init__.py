"""The CPU engine: real reading on a machine without a GPU. See `engine.py`.

The engine is imported when it is asked for, not before: its geometry and its field readers serve
others too, where the packages of its models are not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.engine.embedded.engine import EmbeddedEngine

__all__ = ("EmbeddedEngine",)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shared.engine.embedded import engine  # noqa: PLC0415 - see the module's docstring

    return getattr(engine, name)
