"""Receives a large body from the socket straight into its place, where the usual way copies each
byte five times. It knows how long the body is and reads not a byte beyond; it parses nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from shared.errors import Cancelled

WINDOW_BYTES: Final = 256 * 1024
"""Most that one call copies out of the kernel, a tenth of a millisecond."""

TURN_BYTES: Final = 4 * 1024 * 1024
"""Most that all bodies receive in one turn of the loop, two milliseconds; others want it, too."""


class Turns:
    """Shares out the loop's time between the bodies that are being received."""

    def __init__(self) -> None:
        self._left_bytes = TURN_BYTES
        self._is_new = True

    def spend(self, count: int) -> bool:
        """Whether whoever has received so much may go on in this turn of the loop."""
        self._left_bytes -= count
        if self._is_new:
            self._is_new = False
            asyncio.get_running_loop().call_soon(self._renew)
        return self._left_bytes > 0

    async def wait(self, count: int) -> None:
        """Wait for a turn in which room may be made for so many bytes: the first touch of memory
        takes its time as well, and clients come by dozens."""
        while self._left_bytes <= 0:  # noqa: ASYNC110 - it is over in a turn or a few
            await asyncio.sleep(0)
        self.spend(count)

    def _renew(self) -> None:
        self._left_bytes, self._is_new = TURN_BYTES, True


class Intake(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol until the body is whole."""

    def __init__(
        self,
        transport: asyncio.Transport,
        stands_for: asyncio.Protocol,
        first: bytes | bytearray,
        total_bytes: int,
        turns: Turns,
    ) -> None:
        self.buffer = bytearray(total_bytes)
        self._view = memoryview(self.buffer)
        self._view[: len(first)] = first
        self._transport = transport
        self._stands_for = stands_for
        self._turns = turns
        self._filled_bytes = len(first)
        self._loop = asyncio.get_running_loop()
        self._whole: asyncio.Future[None] = self._loop.create_future()

    async def receive(self) -> bytearray:
        """The whole body.

        Raises:
            Cancelled: the client went away.
        """
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        try:
            await self._whole
        except asyncio.CancelledError:
            self._transport.abort()  # nobody knows any longer where the next request begins
            raise
        finally:
            self._view.release()
            self._transport.set_protocol(self._stands_for)
            # uvloop remembers this object's methods for as long as the connection lives.
            buffer, self.buffer = self.buffer, bytearray()
        return buffer

    # ---- what the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._view[self._filled_bytes : self._filled_bytes + WINDOW_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled_bytes += nbytes
        if self._filled_bytes == len(self._view):
            self._transport.pause_reading()
            if not self._whole.done():
                self._whole.set_result(None)
        elif not self._turns.spend(nbytes):
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._whole.done() and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stands_for.connection_lost(exc)
        if not self._whole.done():
            self._whole.set_exception(Cancelled("the client went away while sending"))

    def pause_writing(self) -> None:
        self._stands_for.pause_writing()

    def resume_writing(self) -> None:
        self._stands_for.resume_writing()
