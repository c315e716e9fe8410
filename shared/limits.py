"""The bounds of a service, each named with its unit. `contract.md`'s table gives the values;
`services/*/app.py` states them, settings may change them."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024

PIXELS_MAX = 100_000_000
"""Most pixels of a page, everywhere (contract: 100 million)."""

BODY_SLACK_BYTES = 1 * MIB
"""Room for the envelope around the page: prompts, other fields, multipart heads."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one service accepts, and how long it takes over it."""

    image_bytes_max: int = 32 * MIB
    pixels_max: int = PIXELS_MAX
    batch_max: int = 100
    """Most pages in one batch request, and most images in one chat request."""
    slots: int = 1
    """Requests at work at once."""
    queue_max: int = 256
    """Requests that may wait for a slot; 0 refuses at once when all slots are taken."""
    timeout_s: float = 300.0
    """From the start of the work to the whole answer, or to a stream's first delta."""
    silence_s: float = 60.0
    """Longest pause inside a stream."""
    temperature: float = 0.0
    """When the client names none."""
    temperature_max: float = 2.0
    max_tokens: int = 4096
    """When the client names none."""
    max_tokens_max: int | None = None
    """Most a client may ask for; `None` is no bound."""

    @property
    def body_bytes_max(self) -> int:
        """The largest JSON body with one page: base64 is 4/3 of the bytes."""
        return self.image_bytes_max * 4 // 3 + BODY_SLACK_BYTES
