"""The bounds of a service, each named with its unit. `contract.md`'s table gives the values;
`services/*/app.py` states them, settings may change them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MIB = 1024 * 1024

PIXELS_MAX = 100_000_000
"""Most pixels of a page, everywhere (contract: 100 million)."""

BODY_SLACK_BYTES = 1 * MIB
"""Room for the envelope around the page: prompts, other fields, multipart heads."""

DAY_S = 86_400.0
"""No deadline is longer: beyond it a wait is not bounded in any useful sense."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one service accepts, and how long it takes over it."""

    image_bytes_max: Annotated[int, Meta(ge=1, description="largest image file, in bytes")] = (
        32 * MIB
    )
    pixels_max: Annotated[int, Meta(ge=1, description="most pixels of one page")] = PIXELS_MAX
    batch_max: Annotated[
        int, Meta(ge=1, description="most pages in one batch, most images in one chat request")
    ] = 100
    slots: Annotated[int, Meta(ge=1, description="requests at work at once")] = 1
    queue_max: Annotated[
        int, Meta(ge=0, description="requests that may wait for a slot; 0 refuses when all work")
    ] = 256
    timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=DAY_S,
            description="from the start of the work to the answer, or a stream's start",
        ),
    ] = 300.0
    silence_s: Annotated[
        float, Meta(gt=0, le=DAY_S, description="longest pause inside a stream")
    ] = 60.0
    temperature: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="sampling temperature when the client names none"),
    ] = 0.0
    temperature_max: Annotated[
        float, Meta(ge=0, description="highest temperature a client may ask for")
    ] = 2.0
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="nucleus sampling when the client names none"),
    ] = 1.0
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="tokens of an answer when the client names none"),
    ] = 4096
    max_tokens_max: Annotated[
        int | None,
        Meta(description="most tokens a client may ask for; `none` is no bound"),
    ] = None

    @property
    def body_bytes_max(self) -> int:
        """The largest JSON body with one page: base64 is 4/3 of the bytes."""
        return self.image_bytes_max * 4 // 3 + BODY_SLACK_BYTES
