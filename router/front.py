"""Answers requests of every dialect: finds who is asked, lets bytes pass where the dialect is the
service's own, and translates where it is not. Decisions are in `dialects`, `translate`, `retell`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from router.dialects import (
    LIMITS,
    MODEL_HEADER,
    Operation,
    named_model,
    named_task,
    without_model,
)
from router.fleet import Fleet, Target, Wire
from router.forms import write_form
from router.heads import (
    keep_facts,
    shown_key,
    tell_losses,
    traced,
    write_query,
)
from router.passage import Passage
from router.requests import (
    form_fields,
    parsed,
    parts_of,
    what_is_left,
    with_decoded_pages,
    without_pages,
)
from router.told import joined, size_of, told_by, wants_size
from router.translate import Retold, Stops, Turn, make_turn, read_error
from router.upstream import Ask
from router.watching import Marked, Watch
from router.words import understand
from shared.errors import OcrError
from shared.exchange import Answer, Exchange
from shared.http import Incoming
from shared.ocr import (
    Delta,
    Done,
    Request,
    Result,
    Stop,
    Text,
    fold,
)
from shared.splice import Splice
from shared.streams import new_stamp, stream_deltas
from shared.wire import fleet as fleet_wire
from shared.wire.answers import Outcome

NO_IMAGE: Final = "No image was sent, and {model} reads images: there is nothing to read."


class Front:
    """The dialects' requests over the fleet. `fleet` is replaced when its file changes."""

    def __init__(self, fleet: Fleet, passage: Passage) -> None:
        self.fleet = fleet
        self.passage = passage

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

    async def _pass(self, exchange: Exchange, operation: Operation, target: Target) -> Answer:
        """The client's bytes to the service, the service's bytes to the client."""
        incoming = exchange.incoming
        query = {name: value for name, value in incoming.query.items() if name != "model"}
        if operation.wire is Wire.CHATVLM:
            query["model"] = target.model  # an alias means nothing to the service
        return await self.passage.forward(
            exchange, target, operation.path + write_query(query), operation
        )

    # ---- another dialect's service

    async def _translate(
        self, exchange: Exchange, operation: Operation, target: Target, name: str
    ) -> Answer:
        incoming = without_model(parsed(exchange.incoming))
        call = operation.read(incoming, LIMITS)
        asked = call.asked if "asked" in call.__struct_fields__ else None
        request = understand(call.request, operation, target, named_task(incoming), asked)
        call = without_pages(call, name)
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
        parts = parts_of(request, target)
        if not parts:
            yield Text(NO_IMAGE.format(model=target.model))
            yield Done()
            return
        ends: list[Done] = []
        stops = Stops(request)
        for number, part in enumerate(parts):
            turn = make_turn(what_is_left(part, ends), target, dialect)
            tell_losses(exchange, turn)
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
        yield joined(ends)

    async def _turn(
        self, exchange: Exchange, turn: Turn, *, is_last: bool
    ) -> AsyncGenerator[Delta, None]:
        """One page asked of one service, and what it says as the caller wants it told."""
        ask = await self._ask(exchange, turn)
        if is_last and not wants_size(turn):
            exchange.splice = Splice()  # a form holds the pages anew; once is enough
        async with self.passage.upstream.ask(ask) as answer:
            if answer.status != 200:
                raise read_error(turn, await answer.whole())
            size = await size_of(exchange, turn, answer.headers)
            exchange.sizes += () if size is None else (size,)
            keep_facts(exchange, answer.headers)
            exchange.route["replica"] = answer.replica
            retold, watch = Retold(turn, size), Watch(self.passage.guard, turn.wanted.prompt)
            last: Sequence[Delta] = ()
            async with aclosing(told_by(exchange, turn, answer)) as told:
                async for delta in told:
                    if isinstance(delta, Done):
                        last = retold.feed(delta)
                        break
                    for one in retold.feed(delta):
                        yield one
                    if watch.caught(delta.text):
                        last = retold.feed(self.passage.caught(exchange, watch))
                        break
            await answer.finish(read_on=not watch.is_runaway)
        for one in last:  # the slot is free by now
            yield one

    async def _ask(self, exchange: Exchange, turn: Turn) -> Ask:
        outgoing = turn.outgoing
        headers = {
            **outgoing.headers,
            fleet_wire.HEADER: fleet_wire.VALUE,
            **traced(exchange),
            **shown_key(exchange, turn.target.service),
        }
        if outgoing.form is None:
            body = exchange.splice.put_back(outgoing.body)
        else:
            headers["content-type"], form = write_form(outgoing.form)
            body = await with_decoded_pages(exchange.splice, form)
        return Ask(
            service=turn.target.service,
            method=outgoing.method,
            path=outgoing.path + write_query(outgoing.query),
            headers=headers,
            body=body,
            client=exchange.caller.name,
            share=exchange.caller.share,
            patience_s=self.passage.patience_s,
        )
