"""The router's routes: which path of which port is which dialect's operation. Handlers are short;
the work is `front`'s.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from router import reports
from router.budget import Budget
from router.dialects import (
    CHATVLM,
    CHATVLM_CHAT,
    DEEPSEEK,
    DEEPSEEK_FILE,
    DEEPSEEK_STREAM,
    LIMITS,
    MODEL_HEADER,
    OPENAI,
    Operation,
    named_task,
    own_operation,
    without_model,
)
from router.fleet import Fleet, Target, Wire
from router.front import Front
from router.heads import write_query
from router.requests import parsed
from router.settings import RouterSettings
from router.sharing import SEEN_BYTES_MAX, documented_dialect, sniff, write_noted
from router.state import State
from router.translate import WIRES
from router.words import understand
from shared.body import Buffer, Scope, form_boundary, read_chunks, read_head, read_whole
from shared.errors import (
    InvalidRequest,
    NoSuchRoute,
    OcrError,
    UnknownModel,
    WrongMethod,
)
from shared.exchange import Answer, Exchange
from shared.frame import Handler, Route
from shared.http import Incoming, Reply
from shared.ocr import Request
from shared.splice import TAKEN_BYTES_MIN, take_pages
from shared.wire import chatvlm, chatvlm_batch, deepseek_batch, lighton, openai
from shared.wire.answers import Outcome

MODELS: Final = "/v1/models"
UNLOAD: Final = "/models/{name:str}"


Named = Callable[[Incoming, Operation], str | None]
"""Who is asked, where the request's own words do not decide: see `_any` and `Routes.documented`."""


class Routes:
    """The handlers around one front."""

    def __init__(
        self, settings: RouterSettings, state: State, front: Front, budget: Budget
    ) -> None:
        self._settings = settings
        self._state = state
        self._front = front
        self._budget = budget
        self._started = int(time.time())

    # ---- the tables

    def unified(self) -> list[Route]:
        """Port 8100: every dialect, every model."""
        return [
            self._asking("/v1/chat/completions", self._speak(OPENAI, _any), OPENAI),
            self._shared(sniff, _any),
            *self._deepseek(_any),
            *self._chatvlm(_any),
            Route("DELETE", UNLOAD, self.unload, write_error=chatvlm.write_error),
            Route("GET", "/v1/models", self.openai_models),
            Route("GET", "/models", self.chatvlm_models),
            Route("GET", "/health", self.health),
        ]

    def legacy(self) -> list[Route]:
        """Port 8000: deepseek's and chatvlm's documents, and nothing else."""
        return [
            self._shared(documented_dialect, self.documented),
            *self._deepseek(self.documented),
            *self._chatvlm(self.documented),
            Route(
                "DELETE", "/models/{name:str}", self.legacy_unload, write_error=chatvlm.write_error
            ),
            Route("GET", "/", self.legacy_root),
            Route("GET", "/models", self.legacy_models),
            Route("GET", "/health", self.legacy_health),
        ]

    def _deepseek(self, named: Named) -> list[Route]:
        async def batch(exchange: Exchange) -> Answer:
            return await self.deepseek_batch(exchange, named(exchange.incoming, DEEPSEEK))

        return [
            self._asking("/ocr/file", self._speak(DEEPSEEK_FILE, named), DEEPSEEK_FILE),
            self._asking("/ocr/stream", self._speak(DEEPSEEK_STREAM, named), DEEPSEEK_STREAM),
            self._asking("/ocr/batch", batch, DEEPSEEK, batch=True),
        ]

    def _chatvlm(self, named: Named) -> list[Route]:
        async def batch(exchange: Exchange) -> Answer:
            return await self.chatvlm_batch(exchange, named(exchange.incoming, CHATVLM))

        return [
            self._asking("/chat", self._speak(CHATVLM_CHAT, named), CHATVLM),
            self._asking("/batch/ocr", batch, CHATVLM, batch=True),
        ]

    def _asking(
        self,
        path: str,
        handler: Handler,
        operation: Operation,
        *,
        batch: bool = False,
    ) -> Route:
        """A route whose body is buffered under the budget, and whose errors are the dialect's."""
        bytes_max = self._settings.batch_bytes_max if batch else self._settings.body_bytes_max

        async def read(exchange: Exchange, scope: Scope) -> Incoming:
            return await self._read(exchange, scope, bytes_max)

        return Route(
            "POST",
            path,
            handler,
            write_error=operation.write_error,
            read=read,
        )

    def _shared(self, told: Callable[[Incoming], Operation], named: Named) -> Route:
        """`/ocr`, which several dialects share: `told` says which one a request speaks, and so in
        whose shape its errors are, be its body whole or broken off."""

        async def read(exchange: Exchange, scope: Scope) -> Incoming:
            seen = bytearray()
            try:
                return await self._read(exchange, scope, self._settings.body_bytes_max, seen)
            except OcrError as error:
                head = msgspec.structs.replace(read_head(scope), body=bytes(seen))
                with contextlib.suppress(InvalidRequest):
                    error.add_note(told(head).dialect)
                raise

        async def ocr(exchange: Exchange) -> Answer:
            operation = told(exchange.incoming)
            try:
                model = named(exchange.incoming, operation)
                return await self._front.operate(exchange, operation, model)
            except OcrError as error:
                error.add_note(operation.dialect)
                raise

        return Route("POST", "/ocr", ocr, write_error=write_noted, read=read)

    def find(self, scope: Scope) -> Route | None:
        """The routes under a prefix: `/<service>/...` and `/m/<model>/v1/...`."""
        raw = scope.get("raw_path", scope["path"].encode()).split(b"?")[0].decode("latin-1")
        head, _, rest = raw.lstrip("/").partition("/")
        if head == "m":
            model, _, inner = rest.partition("/v1/")
            return self._scoped(unquote(model), scope["method"], "/v1/" + inner) if inner else None
        service = self._front.fleet.service(unquote(head))
        if service is None:
            return None
        target = Target(service, service.models[0])
        return self._own(target, scope, "/" + rest)

    def _own(self, target: Target, scope: Scope, path: str) -> Route:
        """One service's own API, byte by byte."""
        query = scope["query_string"].decode("latin-1")
        full = f"{path}?{query}" if query else path
        operation = own_operation(target.service.wire, scope["method"], path)

        async def forward(exchange: Exchange) -> Answer:
            for model in target.service.models:  # which one is asked stands in bytes nobody reads
                exchange.caller.check_model(model)
            exchange.model = target.model
            return await self._front.passage.forward(exchange, target, full, operation)

        async def read(exchange: Exchange, scope: Scope) -> Incoming:
            return await self._read(exchange, scope, self._settings.batch_bytes_max)

        write_error = WIRES[target.service.wire].write_error
        return Route(scope["method"], path, forward, write_error=write_error, read=read)

    def _scoped(self, model: str, method: str, path: str) -> Route | None:
        """The OpenAI API of one model."""

        async def models(exchange: Exchange) -> Reply:
            target = self._front.find(exchange, model, OPENAI)
            return reports.write_openai_models([(target.model, target.service.name)], self._started)

        async def refuse(_: Exchange) -> Reply:
            raise WrongMethod("Method Not Allowed", allow=allow)

        allow = {openai.PATH: "POST", MODELS: "GET"}.get(path, "")
        if not allow:
            return None
        if method != allow:
            return Route(method, path, refuse, write_error=lighton.write_error)
        if path == MODELS:
            return Route("GET", path, models, write_error=lighton.write_error)
        return self._asking(path, self._speak(OPENAI, lambda *_: model), OPENAI)

    # ---- reading

    async def _read(
        self, exchange: Exchange, scope: Scope, bytes_max: int, seen: bytearray | None = None
    ) -> Incoming:
        """The request with its body as it came, held within the budget until it is answered. The
        beginning of a body that comes in pieces is also put into `seen`."""
        incoming = read_head(scope)
        length = incoming.headers.get("content-length", "")
        expected = min(int(length), bytes_max) if length.isascii() and length.isdigit() else 0
        hold = await exchange.stack.enter_async_context(self._budget.hold(expected))
        body: Buffer | None = await read_whole(incoming, scope, bytes_max=bytes_max)
        if body is None:
            chunks: list[bytes] = []
            async for chunk in read_chunks(incoming, exchange.receive, bytes_max=bytes_max):
                if seen is not None and len(seen) < SEEN_BYTES_MAX:
                    seen += chunk[:SEEN_BYTES_MAX]
                await hold.add(len(chunk))
                chunks.append(chunk)
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        else:
            await hold.add(len(body))
        hold.complete()
        if len(body) >= TAKEN_BYTES_MIN and form_boundary(incoming) is None:
            body, exchange.splice = take_pages(body)
        return msgspec.structs.replace(incoming, body=bytes(body))

    # ---- asking

    def _speak(self, operation: Operation, named: Named) -> Handler:
        async def speak(exchange: Exchange) -> Answer:
            model = named(exchange.incoming, operation)
            return await self._front.operate(exchange, operation, model)

        return speak

    def documented(self, incoming: Incoming, operation: Operation) -> str | None:
        """The model on the legacy port, which knows those of the two documents alone: deepseek's
        takes no name, so one in its body is a field like any other it does not know.

        Raises:
            UnknownModel: chatvlm has none of that name.
        """
        if name := incoming.headers.get(MODEL_HEADER):
            return name
        fleet = self._front.fleet
        models = _models(fleet, operation.wire)
        if operation.wire is Wire.DEEPSEEK:
            return next(iter(models), operation.model)
        name = self._front.named(incoming)
        if name and fleet.aliases.get(name, name) not in models:
            raise UnknownModel(f"Model '{name}' not found. Available: {', '.join(models)}")
        return name

    async def deepseek_batch(self, exchange: Exchange, model: str | None) -> Answer:
        incoming = exchange.incoming
        name = model or self._front.named(incoming)
        target = self._front.find(exchange, name, DEEPSEEK)
        task = named_task(incoming)
        if task is None and target.service.wire is Wire.DEEPSEEK:
            query = write_query(without_model(incoming).query)
            return await self._front.passage.forward(
                exchange, target, deepseek_batch.PATH + query, None
            )
        requests = [
            call if isinstance(call, OcrError) else understand(call.request, DEEPSEEK, target, task)
            for call in deepseek_batch.read_batch(incoming, LIMITS)
        ]
        outcomes = await self._all(exchange, requests, target, DEEPSEEK)
        return deepseek_batch.write_batch(outcomes, exchange.seconds())

    async def chatvlm_batch(self, exchange: Exchange, model: str | None) -> Answer:
        incoming = exchange.incoming
        name = model or self._front.named(incoming)
        target = self._front.find(exchange, name, CHATVLM)
        task = named_task(incoming)
        if task is None and target.service.wire is Wire.CHATVLM:
            query = write_query({**incoming.query, "model": target.model})
            return await self._front.passage.forward(
                exchange, target, chatvlm_batch.PATH + query, None
            )
        calls = chatvlm_batch.read_batch(without_model(parsed(incoming)), LIMITS)
        requests = [understand(call.request, CHATVLM, target, task) for call in calls]
        outcomes = await self._all(exchange, requests, target, CHATVLM)
        named = [
            msgspec.structs.replace(outcome, filename=call.filename)
            for outcome, call in zip(outcomes, calls, strict=True)
        ]
        return chatvlm_batch.write_batch(named, exchange.seconds())

    async def _all(
        self,
        exchange: Exchange,
        requests: Sequence[Request | OcrError],
        target: Target,
        operation: Operation,
    ) -> list[Outcome]:
        return await exchange.until_hangup(
            self._front.batch(exchange, requests, target, operation.dialect)
        )

    async def legacy_unload(self, exchange: Exchange) -> Answer:
        """As its document has it: what it has no model of is not loaded."""
        name = unquote(exchange.incoming.path.removeprefix("/models/"))
        fleet = self._front.fleet
        if fleet.aliases.get(name, name) not in _models(fleet, Wire.CHATVLM):
            raise chatvlm.not_loaded(name)
        return await self.unload(exchange)

    async def unload(self, exchange: Exchange) -> Answer:
        """Every replica of the service that has the model lets it go."""
        name = unquote(exchange.incoming.path.removeprefix("/models/"))
        target = self._front.find(exchange, name, CHATVLM)
        if target.service.wire is not Wire.CHATVLM:
            raise InvalidRequest(f"Model {name} stays in memory: its service has no other")
        return await self._front.passage.unload(exchange, target)

    # ---- telling

    async def health(self, _: Exchange) -> Reply:
        return reports.write_health(self._state)

    async def legacy_health(self, _: Exchange) -> Reply:
        return reports.write_legacy_health(self._state)

    async def openai_models(self, exchange: Exchange) -> Reply:
        models = [
            (model, service.name)
            for service in self._front.fleet.services
            for model in service.models
            if exchange.caller.may_use(model)
        ]
        return reports.write_openai_models(models, self._started)

    async def chatvlm_models(self, exchange: Exchange) -> Reply:
        return reports.write_chatvlm_models(self._state, exchange.caller)

    async def legacy_root(self, _: Exchange) -> Reply:
        return chatvlm.write_root()

    async def legacy_models(self, _: Exchange) -> Reply:
        """Chatvlm's own seven, with what is loaded as its service last said."""
        service = next(
            (one for one in self._front.fleet.services if one.wire is Wire.CHATVLM), None
        )
        if service is None:
            raise NoSuchRoute("Not Found")
        loaded = set(reports.loaded_models(self._state))
        return chatvlm.write_models(loaded=[row.id for row in chatvlm.MODELS if row.id in loaded])


def _any(_: Incoming, __: Operation) -> str | None:
    """Whoever the request names."""
    return None


def _models(fleet: Fleet, wire: Wire) -> list[str]:
    return [model for one in fleet.services if one.wire is wire for model in one.models]
