"""Requests that pass to a service whose own dialect they are: the client's bytes on the way there,
the service's on the way back.

A whole answer shows a runaway only when it is too late. So while the guard is on, a request for one
goes out as the client's bytes with the fleet's header on top: a service that knows it streams its
deltas, which are watched and written as that service writes them; any other server's answer passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from urllib.parse import quote

import msgspec

from router import passing
from router.dialects import (
    LIMITS,
    Operation,
    named_model,
    wants_stream,
    without_model,
)
from router.endings import STOP_HEADER, Endings
from router.fleet import Target
from router.guard import GuardSettings
from router.heads import (
    ESTIMATED,
    USAGE_HEADER,
    forwarded_headers,
    own_headers,
    shown_key,
    traced,
)
from router.requests import (
    answering_model,
    parsed,
    without_pages,
)
from router.told import check_whole, fleets_deltas, is_fleets
from router.upstream import Answer as Upstreamed
from router.upstream import Ask, Upstream
from router.watching import Watch
from shared.errors import OcrError
from shared.exchange import Answer, Exchange, Streaming
from shared.http import Reply
from shared.ocr import (
    Delta,
    Done,
    Stop,
    Text,
    fold,
)
from shared.streams import new_stamp
from shared.wire import fleet as fleet_wire


class Passage:
    """The way through to the services. `runaways` counts streams that were stopped, by model."""

    def __init__(self, upstream: Upstream, guard: GuardSettings, patience_s: float) -> None:
        self.upstream = upstream
        self.runaways: Counter[str] = Counter()
        """Streams stopped because they repeated themselves, by model."""
        self.guard = guard
        self.patience_s = patience_s

    async def forward(
        self,
        exchange: Exchange,
        target: Target,
        path: str,
        operation: Operation | None,
    ) -> Answer:
        """Any request to one service as it is. The `operation`, where it is one, says in whole
        frames what must be said in the service's place; else a stream that breaks is broken off."""
        incoming = exchange.incoming
        watched = (
            operation is not None and self.guard.enabled and not wants_stream(incoming, operation)
        )
        ask = Ask(
            service=target.service,
            method=incoming.method,
            path=path,
            headers={
                **forwarded_headers(exchange),
                **shown_key(exchange, target.service),
                **({fleet_wire.HEADER: fleet_wire.VALUE} if watched else {}),
            },
            body=exchange.splice.put_back(incoming.body),
            client=exchange.caller.name,
            share=exchange.caller.share,
            patience_s=self.patience_s,
        )
        answer = await self._begun(exchange, ask)
        exchange.route |= {"service": target.service.name, "replica": answer.replica}
        media_type = passing.media_type_of(answer.headers.get("content-type", ""))
        if media_type not in passing.FRAME_ENDS or answer.status != 200:
            return await self._passed_whole(exchange, answer)
        if operation is not None and watched and is_fleets(answer):
            return await self._folded(exchange, operation, target, answer)
        frames = passing.whole_frames(answer.chunks(), media_type)
        first = await exchange.until_hangup(_first(frames))
        exchange.first_delta_s = exchange.seconds()
        chunks = self._passed(exchange, first, frames, operation, answer)
        return Streaming(
            media_type=answer.headers["content-type"],
            status=answer.status,
            headers={**own_headers(answer.headers), **exchange.headers()},
            chunks=chunks,
            source=chunks,
        )

    async def _passed_whole(self, exchange: Exchange, answer: Upstreamed) -> Reply:
        reply = await exchange.until_hangup(answer.whole())
        exchange.first_delta_s = exchange.seconds()
        if answer.status == 200 and answer.is_json:
            check_whole(answer, reply)
        return msgspec.structs.replace(reply, headers=own_headers(answer.headers))

    async def _folded(
        self, exchange: Exchange, operation: Operation, target: Target, answer: Upstreamed
    ) -> Reply:
        """A whole answer in the service's own format, made of the deltas it streams."""
        incoming = parsed(exchange.incoming)
        call = operation.read(without_model(incoming), LIMITS)
        prompt = call.request.prompt
        exchange.task, exchange.pages = call.request.task, len(call.request.pages)
        call = without_pages(call, answering_model(target, named_model(incoming)))
        exchange.incoming = msgspec.structs.replace(exchange.incoming, body=b"", form=None)

        async def watched() -> AsyncGenerator[Delta, None]:
            watch = Watch(self.guard, prompt)
            async with aclosing(fleets_deltas(answer)) as deltas:
                async for delta in deltas:
                    exchange.saw(delta)
                    yield delta
                    if isinstance(delta, Text) and watch.caught(delta.text):
                        answer.close()
                        done = self.caught(exchange, watch)
                        exchange.saw(done)
                        yield done
                        return

        async with aclosing(watched()) as deltas:
            result = await exchange.until_hangup(fold(deltas))
        reply = operation.write(call, result, new_stamp(exchange.seconds()))
        return msgspec.structs.replace(
            reply, headers={**own_headers(answer.headers), **reply.headers}
        )

    async def unload(self, exchange: Exchange, target: Target) -> Answer:
        """Ask each replica to let the model go; the answer is that of one which had it."""
        replicas = self.upstream.pools[target.service.name].snapshot().replicas
        best: Reply | None = None
        for _ in range(max(1, len(replicas))):
            ask = Ask(
                service=target.service,
                method="DELETE",
                path=f"/models/{quote(target.model, safe='')}",
                headers={**traced(exchange), **shown_key(exchange, target.service)},
                client=exchange.caller.name,
                patience_s=self.patience_s,
            )
            answer = await self._begun(exchange, ask)
            reply = await exchange.until_hangup(answer.whole())
            if best is None or reply.status == 200:
                best = reply
        if best is None:
            raise AssertionError("unreachable")
        return msgspec.structs.replace(best, headers=own_headers(best.headers))

    async def _passed(
        self,
        exchange: Exchange,
        first: bytes,
        frames: AsyncIterator[bytes],
        operation: Operation | None,
        answer: Upstreamed,
    ) -> AsyncGenerator[bytes, None]:
        """The frames as they come, watched for a runaway; a break is told in the dialect's way."""
        endings = None if operation is None else Endings(operation)
        watch = Watch(self.guard, "")
        try:
            frame = first
            while frame:
                texts = "" if endings is None else endings.read(exchange, frame)
                if endings is not None and watch.caught(texts) and not endings.ended:
                    answer.close()
                    exchange.saw(self.caught(exchange, watch))
                    yield frame
                    yield endings.runaway()
                    return
                yield frame
                frame = await anext(frames, b"")
            if endings is not None:
                endings.close()
        except OcrError as error:
            exchange.failed(error, error.detail)
            if endings is None:
                raise
            yield endings.failure(error)

    async def _begun(self, exchange: Exchange, ask: Ask) -> Upstreamed:
        """The answer, held until the exchange is over; given up when the client hangs up."""
        return await exchange.until_hangup(
            exchange.stack.enter_async_context(self.upstream.ask(ask))
        )

    def caught(self, exchange: Exchange, watch: Watch) -> Done:
        """The end of a runaway, put down in headers, log and metrics."""
        self.runaways[exchange.model] += 1
        exchange.stop = Stop.REPETITION
        exchange.facts[STOP_HEADER] = Stop.REPETITION
        exchange.facts[USAGE_HEADER] = ESTIMATED
        exchange.detail = f"runaway: {watch.where}"
        return Done(stop=Stop.REPETITION, usage=watch.usage())


async def _first(frames: AsyncIterator[bytes]) -> bytes:
    return await anext(frames, b"")
