"""Answers requests of every dialect: finds who is asked, passes bytes through where the dialect is
the service's own, and translates where it is not. Decisions are in `dialects`, `translate` and
`retell`; connections in `upstream`.

A whole answer shows a runaway only when it is too late. So while the guard is on, a request for one
goes out as the client's bytes with the fleet's header on top: a service that knows it streams its
deltas, which are watched and written as that service writes them; any other server's answer passes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from router import passing
from router.abilities import Form
from router.dialects import (
    LIMITS,
    MODEL_HEADER,
    Call,
    Operation,
    named_model,
    named_task,
    wants_stream,
    without_model,
)
from router.endings import STOP_HEADER, Endings, mark
from router.fleet import Fleet, Service, Target, Wire
from router.forms import write_form
from router.guard import Guard, GuardSettings
from router.sizes import page_size, told_size
from router.translate import Retold, Stops, Turn, make_turn, read_error, read_whole
from router.upstream import HOP_BY_HOP, Ask, Upstream
from router.upstream import Answer as Upstreamed
from router.words import understand
from shared.body import FormReader, form_boundary
from shared.errors import EngineFailed, OcrError
from shared.exchange import Answer, Exchange, Streaming
from shared.http import Incoming, Reply
from shared.ocr import (
    Delta,
    Done,
    EncodedPage,
    Page,
    Request,
    Result,
    Stop,
    Text,
    Usage,
    fold,
)
from shared.splice import Piece, Splice
from shared.streams import DeltaWriter, new_stamp, stream_deltas
from shared.tokens import NO_LIMIT, count_tokens
from shared.wire import fleet as fleet_wire
from shared.wire.answers import Outcome
from shared.wire.fastapi import IMAGE_BYTES_MAX

NOT_FORWARDED: Final = HOP_BY_HOP | {"host", "content-length", "content-encoding", "expect"}
"""Headers that are of the client's connection, or of the body as it came before it was unpacked."""

CLAMPED_HEADER: Final = "x-ocr-clamped"
LOSS_HEADER: Final = "x-ocr-loss"
USAGE_HEADER: Final = "x-ocr-usage"
ESTIMATED: Final = "estimated"
ENGINE_HEADER: Final = "x-ocr-engine"

_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
"""Checks that something is JSON, and reads none of it."""

NO_IMAGE: Final = "No image was sent, and {model} reads images: there is nothing to read."


class Front:
    """The dialects' requests over the fleet. `fleet` is replaced when its file changes."""

    def __init__(
        self, fleet: Fleet, upstream: Upstream, guard: GuardSettings, patience_s: float
    ) -> None:
        self.fleet = fleet
        self.upstream = upstream
        self.runaways: Counter[str] = Counter()
        """Streams stopped because they repeated themselves, by model."""
        self._guard = guard
        self._patience_s = patience_s

    async def operate(
        self, exchange: Exchange, operation: Operation, model: str | None = None
    ) -> Answer:
        """One operation of a dialect, by the model that the path or the request names.

        Raises:
            UnknownModel: there is none of that name.
            OcrError: as the request's own words, or the service's answer, have it.
        """
        name = model or self.named(exchange.incoming)
        target = self.find(exchange, name, operation)
        task = named_task(exchange.incoming)
        if task is None and target.service.wire is operation.wire:
            return await self._pass(exchange, operation, target)
        return await self._translate(exchange, operation, target, name or target.model)

    def named(self, incoming: Incoming) -> str | None:
        """The model that a request names, wherever it may do so."""
        return named_model(incoming) or form_fields(incoming).get("model")

    def find(self, exchange: Exchange, name: str | None, operation: Operation) -> Target:
        """The model of that name, or else the dialect's, if the caller may use it; told in the
        answer's header.

        Raises:
            UnknownModel: there is none, or none for this caller.
        """
        default = self.fleet.default
        target = self.fleet.find(name) if name else default(operation.model, operation.wire)
        exchange.route |= {"dialect": operation.dialect, "service": target.service.name}
        exchange.caller.check_model(target.model)
        exchange.model = target.model
        exchange.facts[MODEL_HEADER] = target.model
        return target

    # ---- the same dialect on both sides

    async def _pass(self, exchange: Exchange, operation: Operation, target: Target) -> Answer:
        """The client's bytes to the service, the service's bytes to the client."""
        incoming = exchange.incoming
        query = {name: value for name, value in incoming.query.items() if name != "model"}
        if operation.wire is Wire.CHATVLM:
            query["model"] = target.model  # an alias means nothing to the service
        return await self.forward(exchange, target, operation.path + write_query(query), operation)

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
            operation is not None and self._guard.enabled and not wants_stream(incoming, operation)
        )
        ask = Ask(
            service=target.service,
            method=incoming.method,
            path=path,
            headers={
                **forwarded_headers(exchange),
                **_shown_key(exchange, target.service),
                **({fleet_wire.HEADER: fleet_wire.VALUE} if watched else {}),
            },
            body=exchange.splice.put_back(incoming.body),
            client=exchange.caller.name,
            share=exchange.caller.share,
            patience_s=self._patience_s,
        )
        answer = await self._begun(exchange, ask)
        exchange.route |= {"service": target.service.name, "replica": answer.replica}
        media_type = passing.media_type_of(answer.headers.get("content-type", ""))
        if media_type not in passing.FRAME_ENDS or answer.status != 200:
            return await self._passed_whole(exchange, answer)
        if operation is not None and watched and _is_fleets(answer):
            return await self._folded(exchange, operation, target, answer)
        frames = passing.whole_frames(answer.chunks(), media_type)
        first = await exchange.until_hangup(_first(frames))
        exchange.first_delta_s = exchange.seconds()
        chunks = self._passed(exchange, first, frames, operation, answer)
        return Streaming(
            media_type=answer.headers["content-type"],
            status=answer.status,
            headers={**_own_headers(answer.headers), **exchange.headers()},
            chunks=chunks,
            source=chunks,
        )

    async def _passed_whole(self, exchange: Exchange, answer: Upstreamed) -> Reply:
        reply = await exchange.until_hangup(answer.whole())
        exchange.first_delta_s = exchange.seconds()
        if answer.status == 200 and answer.is_json:
            _check_whole(answer, reply)
        return msgspec.structs.replace(reply, headers=_own_headers(answer.headers))

    async def _folded(
        self, exchange: Exchange, operation: Operation, target: Target, answer: Upstreamed
    ) -> Reply:
        """A whole answer in the service's own format, made of the deltas it streams."""
        incoming = parsed(exchange.incoming)
        call = operation.read(without_model(incoming), LIMITS)
        prompt = call.request.prompt
        exchange.task, exchange.pages = call.request.task, len(call.request.pages)
        call = _without_pages(call, _answering(target, named_model(incoming)))
        exchange.incoming = msgspec.structs.replace(exchange.incoming, body=b"", form=None)

        async def watched() -> AsyncGenerator[Delta, None]:
            watch = _Watch(self._guard, prompt)
            async with aclosing(_fleets_deltas(answer)) as deltas:
                async for delta in deltas:
                    exchange.saw(delta)
                    yield delta
                    if isinstance(delta, Text) and watch.caught(delta.text):
                        answer.close()
                        done = self._caught(exchange, watch)
                        exchange.saw(done)
                        yield done
                        return

        async with aclosing(watched()) as deltas:
            result = await exchange.until_hangup(fold(deltas))
        reply = operation.write(call, result, new_stamp(exchange.seconds()))
        return msgspec.structs.replace(
            reply, headers={**_own_headers(answer.headers), **reply.headers}
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
                headers={**_traced(exchange), **_shown_key(exchange, target.service)},
                client=exchange.caller.name,
                patience_s=self._patience_s,
            )
            answer = await self._begun(exchange, ask)
            reply = await exchange.until_hangup(answer.whole())
            if best is None or reply.status == 200:
                best = reply
        if best is None:
            raise AssertionError("unreachable")
        return msgspec.structs.replace(best, headers=_own_headers(best.headers))

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
        watch = _Watch(self._guard, "")
        try:
            frame = first
            while frame:
                texts = "" if endings is None else endings.read(exchange, frame)
                if endings is not None and watch.caught(texts) and not endings.ended:
                    answer.close()
                    exchange.saw(self._caught(exchange, watch))
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

    # ---- another dialect's service

    async def _translate(
        self, exchange: Exchange, operation: Operation, target: Target, name: str
    ) -> Answer:
        incoming = without_model(parsed(exchange.incoming))
        call = operation.read(incoming, LIMITS)
        asked = call.asked if "asked" in call.__struct_fields__ else None
        request = understand(call.request, operation, target, named_task(incoming), asked)
        call = _without_pages(call, name)
        exchange.task, exchange.pages = request.task, len(request.pages)
        # Its bytes are in the call now; a hundred waiting requests must not hold them twice.
        exchange.incoming = msgspec.structs.replace(exchange.incoming, body=b"", form=None)
        deltas = self._deltas(exchange, request, target, operation.dialect)
        if request.stream and operation.writer is not None:
            writer = Marked(operation.writer(call, new_stamp()))
            answer = await stream_deltas(exchange, deltas, writer)
            answer.headers = exchange.headers()
            return answer
        async with aclosing(deltas):
            result = await exchange.until_hangup(fold(deltas))
        return operation.write(call, result, new_stamp(exchange.seconds()))

    async def batch(
        self,
        exchange: Exchange,
        requests: Sequence[Request | OcrError],
        target: Target,
        dialect: str,
    ) -> list[Outcome]:
        """The items of a batch side by side, in their order; each has its own fate."""

        async def one(request: Request | OcrError) -> Outcome:
            part = exchange.part()
            answer: Result | OcrError
            if isinstance(request, OcrError):
                answer = request
            else:
                try:
                    async with aclosing(self._deltas(part, request, target, dialect)) as deltas:
                        answer = await fold(deltas)
                except OcrError as error:
                    answer = error
            exchange.add(part)
            return Outcome(answer=answer, stamp=new_stamp(part.seconds()))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(request)) for request in requests]
        return [task.result() for task in tasks]

    async def _deltas(
        self, exchange: Exchange, request: Request, target: Target, dialect: str
    ) -> AsyncGenerator[Delta, None]:
        """The answer in hub deltas of the caller's dialect. Services that read one page a request
        are asked page by page, and their answers stand a blank line apart."""
        parts = _parts(request, target)
        if not parts:
            yield Text(NO_IMAGE.format(model=target.model))
            yield Done()
            return
        ends: list[Done] = []
        stops = Stops(request)
        for number, part in enumerate(parts):
            turn = make_turn(_left(part, ends), target, dialect)
            _tell_losses(exchange, turn)
            if number:
                yield Text(stops.feed("\n\n"))
            is_last = number == len(parts) - 1
            async with aclosing(self._turn(exchange, turn, is_last=is_last)) as deltas:
                async for delta in deltas:
                    end = delta if isinstance(delta, Done) else None
                    if isinstance(delta, Text):
                        exchange.saw(delta)
                        yield Text(stops.feed(delta.text), delta.notes)
                        end = stops.done() if stops.reached else None
                    if end is not None:
                        exchange.saw(end)
                        ends.append(end)
                        break
            if stops.reached or ends[-1].stop is not Stop.STOP:
                break
        if rest := stops.close():
            yield Text(rest)
        yield _joined(ends)

    async def _turn(
        self, exchange: Exchange, turn: Turn, *, is_last: bool
    ) -> AsyncGenerator[Delta, None]:
        """One page asked of one service, and what it says as the caller wants it told."""
        ask = await self._ask(exchange, turn)
        if is_last and not _wants_size(turn):
            exchange.splice = Splice()  # a form holds the pages anew; once is enough
        async with self.upstream.ask(ask) as answer:
            if answer.status != 200:
                raise read_error(turn, await answer.whole())
            size = await _size(exchange, turn, answer.headers)
            exchange.sizes += () if size is None else (size,)
            _keep_facts(exchange, answer.headers)
            exchange.route["replica"] = answer.replica
            retold, watch = Retold(turn, size), _Watch(self._guard, turn.wanted.prompt)
            last: Sequence[Delta] = ()
            async with aclosing(_told(exchange, turn, answer)) as told:
                async for delta in told:
                    if isinstance(delta, Done):
                        last = retold.feed(delta)
                        break
                    for one in retold.feed(delta):
                        yield one
                    if watch.caught(delta.text):
                        last = retold.feed(self._caught(exchange, watch))
                        break
            await answer.finish(read_on=not watch.is_runaway)
        for one in last:  # the slot is free by now
            yield one

    async def _ask(self, exchange: Exchange, turn: Turn) -> Ask:
        outgoing = turn.outgoing
        headers = {
            **outgoing.headers,
            fleet_wire.HEADER: fleet_wire.VALUE,
            **_traced(exchange),
            **_shown_key(exchange, turn.target.service),
        }
        if outgoing.form is None:
            body = exchange.splice.put_back(outgoing.body)
        else:
            headers["content-type"], form = write_form(outgoing.form)
            body = await _with_decoded_pages(exchange.splice, form)
        return Ask(
            service=turn.target.service,
            method=outgoing.method,
            path=outgoing.path + write_query(outgoing.query),
            headers=headers,
            body=body,
            client=exchange.caller.name,
            share=exchange.caller.share,
            patience_s=self._patience_s,
        )

    async def _begun(self, exchange: Exchange, ask: Ask) -> Upstreamed:
        """The answer, held until the exchange is over; given up when the client hangs up."""
        return await exchange.until_hangup(
            exchange.stack.enter_async_context(self.upstream.ask(ask))
        )

    def _caught(self, exchange: Exchange, watch: _Watch) -> Done:
        """The end of a runaway, put down in headers, log and metrics."""
        self.runaways[exchange.model] += 1
        exchange.stop = Stop.REPETITION
        exchange.facts[STOP_HEADER] = Stop.REPETITION
        exchange.facts[USAGE_HEADER] = ESTIMATED
        exchange.detail = f"runaway: {watch.where}"
        return Done(stop=Stop.REPETITION, usage=watch.usage())


class _Watch:
    """A guard, and the tokens of what it has let pass: a stream that is stopped tells none."""

    def __init__(self, settings: GuardSettings, prompt: str) -> None:
        self._guard = Guard(settings)
        self._prompt = prompt
        self._pieces: list[str] = []

    @property
    def where(self) -> str:
        return str(self._guard.where)

    @property
    def is_runaway(self) -> bool:
        return self._guard.where is not None

    def caught(self, text: str) -> bool:
        self._pieces.append(text)
        return self._guard.feed(text)

    def usage(self) -> Usage:
        return Usage(count_tokens(self._prompt), count_tokens("".join(self._pieces)))


class Marked:
    """A dialect's writer that says in a comment why a runaway stream ends."""

    def __init__(self, writer: DeltaWriter) -> None:
        self._writer = writer
        self.media_type = writer.media_type
        self.start = writer.start
        self.fail = writer.fail

    def write(self, delta: Delta, at: datetime) -> bytes:
        written = self._writer.write(delta, at)
        if isinstance(delta, Done) and delta.stop is Stop.REPETITION:
            return mark(self.media_type) + written
        return written


# ---- the request


def parsed(incoming: Incoming) -> Incoming:
    """The request with its form read, where it is one."""
    boundary = form_boundary(incoming)
    if boundary is None or incoming.form is not None:
        return incoming
    reader = FormReader(boundary)
    reader.feed(incoming.body)
    return msgspec.structs.replace(incoming, form=reader.close(), body=b"")


def form_fields(incoming: Incoming) -> Mapping[str, str]:
    """The plain fields of a form; its files are only skipped over."""
    boundary = form_boundary(incoming)
    if boundary is None:
        return {}
    reader = FormReader(boundary, files=False)
    reader.feed(incoming.body)
    return reader.close().fields


def forwarded_headers(exchange: Exchange) -> dict[str, str]:
    """The client's headers as they go on to a service."""
    kept = {
        name: value
        for name, value in exchange.incoming.headers.items()
        if name not in NOT_FORWARDED
    }
    return {**kept, "x-request-id": exchange.request_id}


async def _with_decoded_pages(splice: Splice, form: bytes) -> list[Piece]:
    """A form's bytes, pages in the place of their tokens."""
    if not splice:
        return [form]
    return await splice.put_back_decoded(form, bytes_max=IMAGE_BYTES_MAX)


def write_query(query: Mapping[str, str]) -> str:
    return "?" + urlencode(query, quote_via=quote) if query else ""


def _traced(exchange: Exchange) -> dict[str, str]:
    """What ties the service's log and trace to the client's request (W3C trace context)."""
    names = ("traceparent", "tracestate")
    kept = {
        name: exchange.incoming.headers[name] for name in names if name in exchange.incoming.headers
    }
    return {**kept, "x-request-id": exchange.request_id}


def _shown_key(exchange: Exchange, service: Service) -> dict[str, str]:
    """What a service that asks for a key is shown: the fleet file's, else the client's own."""
    if key := service.key.reveal():
        return {"authorization": f"Bearer {key}"}
    names = ("authorization", "x-api-key")
    return {
        name: exchange.incoming.headers[name] for name in names if name in exchange.incoming.headers
    }


def _parts(request: Request, target: Target) -> list[Request]:
    """A request per page for services that read one; none where there is nothing to send."""
    if target.service.wire is Wire.LIGHTON:
        return [request]
    return [msgspec.structs.replace(request, pages=(page,)) for page in request.pages]


def _left(part: Request, ends: Sequence[Done]) -> Request:
    """A further page's request: the caller's bound on tokens is that of all pages together."""
    most = part.sampling.max_tokens
    if most is None or most == NO_LIMIT or not ends:
        return part
    left = max(1, most - sum(end.usage.completion_tokens for end in ends))
    sampling = msgspec.structs.replace(part.sampling, max_tokens=left)
    return msgspec.structs.replace(part, sampling=sampling)


def _without_pages(call: Call, model: str) -> Call:
    """What the answer's writer needs of a call: hours may pass until its pages are let go of."""
    request = msgspec.structs.replace(call.request, pages=())
    if "model" in call.__struct_fields__:
        return msgspec.structs.replace(call, request=request, model=model)
    return msgspec.structs.replace(call, request=request)


def _answering(target: Target, name: str | None) -> str:
    """The model that a service's own answer names: paddle's is whatever it was called."""
    if name and (target.service.wire is Wire.PADDLE or name in target.service.models):
        return name
    return target.model


def _tell_losses(exchange: Exchange, turn: Turn) -> None:
    if turn.clamped:
        exchange.facts[CLAMPED_HEADER] = ", ".join(turn.clamped)
    if turn.loss:
        exchange.facts[LOSS_HEADER] = turn.loss


# ---- the answer


async def _told(exchange: Exchange, turn: Turn, answer: Upstreamed) -> AsyncGenerator[Delta, None]:
    """The service's deltas. A server that does not know the fleet's way tells all in one."""
    if not _is_fleets(answer):
        result = read_whole(turn, await answer.whole())
        usage = result.usage
        if usage == Usage():
            usage = Usage(count_tokens(turn.wanted.prompt), count_tokens(result.text))
            exchange.facts[USAGE_HEADER] = ESTIMATED
        yield Text(result.text)
        yield Done(stop=result.stop, usage=usage, sizes=result.sizes)
        return
    async with aclosing(_fleets_deltas(answer)) as deltas:
        async for delta in deltas:
            yield delta


def _check_whole(answer: Upstreamed, reply: Reply) -> None:
    """A Content-Length that is wrong cuts an answer without a sound; JSON shows it.

    Raises:
        EngineFailed: it is none.
    """
    try:
        _ANY.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        answer.garbled(str(error))
        raise EngineFailed("The model server's answer is broken", detail=str(error)) from error


def _is_fleets(answer: Upstreamed) -> bool:
    """Whether the service has understood that it was asked the fleet's own way."""
    return answer.headers.get(fleet_wire.HEADER) == fleet_wire.VALUE


async def _fleets_deltas(answer: Upstreamed) -> AsyncGenerator[Delta, None]:
    """What a service streams that was asked the fleet's own way.

    Raises:
        EngineFailed: it ended early, or is no such stream.
    """
    reader = fleet_wire.DeltaReader()
    async for chunk in answer.chunks():
        for delta in reader.feed(chunk):
            yield delta
    for delta in reader.close():
        yield delta


async def _size(
    exchange: Exchange, turn: Turn, headers: Mapping[str, str]
) -> tuple[int, int] | None:
    """The page's size, from whoever knows it; looked up only where boxes are to be converted,
    or the caller is to be told."""
    size = told_size(headers)
    if size is not None or not _wants_size(turn):
        return size
    return await asyncio.to_thread(_look, exchange.splice, turn.wanted.pages[-1])


def _wants_size(turn: Turn) -> bool:
    is_plain = turn.form is turn.asked.form is Form.PLAIN
    return bool(turn.wanted.pages) and (turn.tells_size or not is_plain)


def _look(splice: Splice, page: Page) -> tuple[int, int] | None:
    if not splice or not isinstance(page, EncodedPage):
        return page_size(page)
    # A page's token begins as the page does, which mostly is enough.
    return page_size(page) or page_size(EncodedPage(splice.page(page.data)))


def _keep_facts(exchange: Exchange, headers: Mapping[str, str]) -> None:
    if engine := headers.get(ENGINE_HEADER):
        exchange.facts[ENGINE_HEADER] = engine


def _own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A service's headers on an answer of the router's own length and date."""
    dropped = {
        "content-length",
        "content-type",
        "date",
        "server",
        "x-request-id",
        fleet_wire.HEADER,
        # send_stream says these of every stream; twice would be one too many.
        "cache-control",
        "x-accel-buffering",
    }
    return {
        name: value
        for name, value in headers.items()
        if name not in dropped and not name.startswith("access-control-")
    }


def _joined(ends: Sequence[Done]) -> Done:
    """One end for the pages of a request."""
    return Done(
        stop=ends[-1].stop,
        usage=Usage(
            sum(end.usage.prompt_tokens for end in ends),
            sum(end.usage.completion_tokens for end in ends),
        ),
        blocks=tuple(
            msgspec.structs.replace(block, page=number)
            for number, end in enumerate(ends)
            for block in end.blocks
        )
        if len(ends) > 1
        else ends[0].blocks,
        sizes=tuple(size for end in ends for size in end.sizes),
        notes=tuple(dict.fromkeys(note for end in ends for note in end.notes)),
    )


async def _first(frames: AsyncIterator[bytes]) -> bytes:
    return await anext(frames, b"")
