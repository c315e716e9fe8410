"""The CPU engine: real reading on a machine without a GPU. See `engine.py`."""

from shared.engine.embedded.engine import EmbeddedEngine

__all__ = ("EmbeddedEngine",)
