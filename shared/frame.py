"""Assembles a service: Litestar routes, CORS, the engine's life, health, metrics, OpenAPI pages.

The outermost middleware is here: it gives every request its id and its log line, and turns every
error into the service's own shape. What a route does is in the service's `app.py`.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog
from litestar import Litestar, route
from litestar import Request as Connection
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response
from litestar.types import ASGIApp

from shared.access import OPEN_PATHS, Access, Caller
from shared.body import Receive, Scope, read_incoming
from shared.errors import (
    Busy,
    Cancelled,
    EngineFailed,
    InvalidRequest,
    NoSuchRoute,
    NotAllowed,
    OcrError,
    RateLimited,
    TimedOut,
    WrongMethod,
)
from shared.exchange import Answer, Exchange, Send, Streaming, send_reply, send_stream
from shared.http import Incoming, Reply
from shared.openapi import docs_routes, with_keys
from shared.telemetry import Metrics

log = structlog.get_logger("ocr_fleet.service")

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What is taken over from a client's `x-request-id`; anything else is replaced by an id of ours."""

BATCH_BYTES_MAX: Final = 256 * 1024 * 1024
"""For a body with several pages; a hundred pages of the usual 2.5 MB."""

EXPOSED: Final = (
    "retry-after",
    "x-ocr-clamped",
    "x-ocr-engine",
    "x-ocr-loss",
    "x-ocr-model",
    "x-ocr-note",
    "x-ocr-size",
    "x-ocr-stop",
    "x-request-id",
)
"""Headers that a browser's page may read."""

Handler = Callable[[Exchange], Awaitable[Answer]]


class Route(msgspec.Struct, frozen=True):
    """One path of a service. `bytes_max` bounds its body; errors are worded by `write_error`, or
    as the service words them everywhere."""

    method: str
    path: str
    handler: Handler
    bytes_max: int = 1024 * 1024
    write_error: Callable[[OcrError], Reply] | None = None
    read: Callable[[Exchange, Scope], Awaitable[Incoming]] | None = None
    """How the request is read, where it is not parsed whole within `bytes_max`."""
    open: bool = False
    """Whether it answers without an API key where one is asked for."""


class Frame(msgspec.Struct, kw_only=True):
    """What the frame needs of a service, or of the router."""

    routes: Sequence[Route]
    open: Callable[[], Awaitable[None]]
    """Load what must be there before the service is ready."""
    close: Callable[[], Awaitable[None]]
    shut: Callable[[], None]
    """Refuse new and waiting work; what runs may finish."""
    load: Callable[[], tuple[int, int]]
    """Requests waiting and at work now."""
    ready: Callable[[], str]
    """Empty when the service can serve, else why not."""
    headers: Callable[[], Mapping[str, str]]
    """What every answer carries besides its request id."""
    write_error: Callable[[OcrError], Reply]
    document: dict[str, Any]
    """The OpenAPI document."""
    metrics: Metrics
    find: Callable[[Scope], Route | None] | None = None
    """The route of a path under a prefix; asked where no route has the path itself."""
    cors_origins: Sequence[str] = ("*",)
    access: Access | None = None
    """Who may ask; none: everybody."""
    resources: Sequence[Any] = ()
    """Async context managers held open while the service lives."""


class ServiceApp:
    """The ASGI application of one service.

    `failure` says why the engine could not be opened, for the process that runs it; `shut` refuses
    new work from now on, `door_open` until then.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.failure = ""
        self.door_open = True
        own = [
            Route("GET", "/livez", self._livez),
            Route("GET", "/readyz", self._readyz),
            Route("GET", "/metrics", self._metrics),
            *(
                Route("GET", path, handler, open=True)
                for path, handler in docs_routes(self._document())
            ),
        ]
        endpoints = [_Endpoint(self, one) for one in (*frame.routes, *own)]
        self.direct = {(one.route.method, one.route.path): one for one in endpoints}
        self.cors = CORSConfig(allow_origins=list(frame.cors_origins), expose_headers=list(EXPOSED))
        self.app = Litestar(
            [_routed(one) for one in endpoints],
            cors_config=self.cors,
            exception_handlers={Exception: self._unrouted},
            lifespan=[self._life],
            openapi_config=None,
            logging_config=None,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}  # the server leaves the body out by itself
            # A known path needs nothing of what Litestar adds.
            endpoint = self.direct.get((scope["method"], scope["path"])) or self._found(scope)
            if endpoint is not None:
                await endpoint(scope, receive, self._with_cors(scope, send))
                return
        await self.app(scope, receive, send)  # type: ignore[arg-type]

    def _with_cors(self, scope: Scope, send: Send) -> Send:
        """For a browser's request the headers that let its page read the answer."""
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None:
            return send
        allowed = self.cors.is_origin_allowed(origin.decode("latin-1"))
        headers = [
            (name.lower().encode(), value.encode())
            for name, value in self.cors.simple_headers.items()
        ]
        if allowed and not self.cors.is_allow_all_origins:
            headers += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]

        async def send_with_cors(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return send_with_cors

    def refuse_malformed(self, message: str) -> Reply:
        """The answer to bytes that are no HTTP request, for the server below."""
        return self.frame.write_error(InvalidRequest(message))

    def _found(self, scope: Scope) -> _Endpoint | None:
        """An endpoint for a path that no table can hold."""
        found = None if self.frame.find is None else self.frame.find(scope)
        return None if found is None else _Endpoint(self, found)

    def shut(self) -> None:
        """Refuse new and waiting work; what runs may finish."""
        self.door_open = False
        self.frame.shut()

    def _document(self) -> Mapping[str, Any]:
        asks = self.frame.access is not None and self.frame.access.keys is not None
        return with_keys(self.frame.document) if asks else self.frame.document

    # ---- one request

    def headers(self, request_id: str) -> dict[str, str]:
        """What every answer of the service carries."""
        return {"x-request-id": request_id, **self.frame.headers()}

    def _unrouted(self, request: Connection[Any, Any, Any], error: Exception) -> Response[bytes]:
        """Answers what never reached an endpoint: no such path, not with this method."""
        match error:
            case NotFoundException():
                kind: OcrError = NoSuchRoute("Not Found")
            case MethodNotAllowedException():
                allow = (error.headers or {}).get("allow", "")
                kind = WrongMethod("Method Not Allowed", allow=allow)
            case HTTPException() if error.status_code < 500:
                kind = InvalidRequest(error.detail)
            case _:
                log.error("unrouted_failure", exc_info=error)
                kind = EngineFailed("Internal server error")
        reply = self.frame.write_error(kind)
        return Response(
            content=reply.body,
            status_code=reply.status,
            media_type=reply.media_type,
            headers={**reply.headers, **self.headers(request_id_of(request.scope))},  # type: ignore[arg-type]
        )

    # ---- life

    @asynccontextmanager
    async def _life(self, _: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in self.frame.resources:
                await stack.enter_async_context(resource)
            loading = asyncio.ensure_future(self._load())
            try:
                yield
            finally:
                self.shut()
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
                await self.frame.close()

    async def _load(self) -> None:
        """Open the engine while the port answers already; a failure ends the process."""
        try:
            await self.frame.open()
        except OcrError as error:
            self.failure = str(error)
            log.error("engine_failed_to_open", reason=str(error), detail=error.detail)  # noqa: TRY400
            signal.raise_signal(signal.SIGTERM)
        else:
            log.info("ready", **self.frame.headers())

    # ---- routes every service has

    async def _livez(self, _: Exchange) -> Reply:
        return Reply(body=b'{"status":"ok"}')

    async def _readyz(self, _: Exchange) -> Reply:
        why = self.frame.ready() if self.door_open else "shutting down"
        body = {"status": "ready" if not why else "not ready", "reason": why} if why else None
        return Reply(
            status=503 if why else 200, body=msgspec.json.encode(body or {"status": "ready"})
        )

    async def _metrics(self, _: Exchange) -> Reply:
        metrics = self.frame.metrics
        waiting, in_flight = self.frame.load()
        metrics.set_load(waiting=waiting, in_flight=in_flight)
        return Reply(media_type=metrics.media_type, body=metrics.exposition())


class _Endpoint:
    """One request to one route: read, handle, answer, log. The outermost catch-all is here."""

    def __init__(self, service: ServiceApp, one: Route) -> None:
        self.service = service
        self.route = one
        self.write_error = one.write_error or service.frame.write_error
        is_open = one.open or (one.method == "GET" and one.path in OPEN_PATHS)
        self.access = None if is_open else service.frame.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope["client"][0] if scope.get("client") else ""
        exchange = Exchange(
            request_id=request_id_of(scope), receive=receive, peer=peer, caller=Caller(peer)
        )
        headers = self.service.headers(exchange.request_id)
        answer: Answer | None = None
        try:
            async with exchange.stack:
                answer = await self._answer(exchange, scope)
                if isinstance(answer, Streaming):
                    await exchange.until_hangup(send_stream(answer, send, headers))
                else:
                    await send_reply(answer, send, {**headers, **exchange.headers()})
        except Cancelled as error:
            exchange.failed(error)
        except asyncio.CancelledError:
            exchange.failed(Cancelled("the server stopped"))
            raise
        finally:
            self._account(exchange, scope, answer)

    async def _answer(self, exchange: Exchange, scope: Scope) -> Answer:
        try:
            if self.access is not None:
                now_s = time.monotonic()
                exchange.caller = self.access.admit(scope["headers"], exchange.peer, now_s)
            if self.route.read is not None:
                exchange.incoming = await self.route.read(exchange, scope)
            else:
                exchange.incoming = await read_incoming(
                    scope, exchange.receive, bytes_max=self.route.bytes_max
                )
            return await self.route.handler(exchange)
        except Cancelled:
            raise
        except OcrError as error:
            exchange.failed(error, error.detail)
            return self.write_error(error)
        except Exception as error:  # the outermost edge: whatever it was, in the service's shape
            log.exception("request_failed", request_id=exchange.request_id)
            exchange.failed(error)
            return self.write_error(EngineFailed("Internal server error"))

    def _account(self, exchange: Exchange, scope: Scope, answer: Answer | None) -> None:
        """The canonical log line and the metrics; probes are not worth either."""
        if scope["method"] == "GET" and exchange.outcome == "ok":
            return
        self.service.frame.metrics.observe(
            outcome=_outcome(exchange.outcome),
            model=exchange.model,
            first_delta_s=exchange.first_delta_s,
            duration_s=exchange.seconds(),
            pages=exchange.pages,
            prompt_tokens=exchange.prompt_tokens,
            completion_tokens=exchange.completion_tokens,
        )
        first_s = exchange.first_delta_s
        log.info(
            "request",
            request_id=exchange.request_id,
            method=scope["method"],
            path=scope["path"],
            status=answer.status if answer is not None else 0,
            caller=exchange.caller.name or None,
            outcome=exchange.outcome,
            detail=exchange.detail or None,
            model=exchange.model or None,
            task=exchange.task or None,
            **exchange.route,
            pages=exchange.pages,
            tokens=exchange.completion_tokens,
            stop=exchange.stop or None,
            notes=exchange.notes or None,
            first_delta_ms=None if first_s is None else round(first_s * 1000, 1),
            total_ms=round(exchange.seconds() * 1000, 1),
        )


def _routed(endpoint: _Endpoint) -> HTTPRouteHandler:
    """The endpoint as a Litestar handler."""

    async def enter(request: Connection[Any, Any, Any]) -> ASGIApp:  # noqa: ARG001 - Litestar's
        return endpoint  # type: ignore[return-value]

    enter.__annotations__ = {"request": Connection, "return": ASGIApp}
    one = endpoint.route
    made = route(one.path, http_method=[one.method], status_code=200, name=f"{one}")  # type: ignore[list-item]
    return made(enter)


def _outcome(kind: str) -> str:
    """The metric's label: few values, so that a graph stays readable."""
    names: dict[str, str] = {
        "ok": "ok",
        Busy.__name__: "busy",
        TimedOut.__name__: "timeout",
        Cancelled.__name__: "cancelled",
        EngineFailed.__name__: "failed",
        NotAllowed.__name__: "refused",
        RateLimited.__name__: "limited",
        "ModelNotLoaded": "not_loaded",
    }
    known = {"InvalidRequest", "ImageTooLarge", "UnsupportedImage", "UnknownModel"}
    return names.get(kind, "invalid" if kind in known else "failed")


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """The client's own `x-request-id` where it is a plain word, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if REQUEST_ID.fullmatch(text):
                return str(text)
    return uuid4().hex
