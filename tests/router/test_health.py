"""What the router says of itself and its fleet: health, readiness, metrics, the log line. None of
it waits for a service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.router.asks import ASKS, MODELS
from tests.routing import Routed, routed, routed_fleet
from tests.running import free_port
from tests.samples import DOTS, http
from tests.serving import served
from tests.stubs import Call, calling, stub, wait_until

QUICK: dict[str, Any] = {
    "OCR_FLEET_ROUTER_PROBE_UP_S": "0.05",
    "OCR_FLEET_ROUTER_PROBE_DOWN_S": "0.05",
    "OCR_FLEET_ROUTER_PROBE_TIMEOUT_S": "0.2",
}
ANSWER_S_MAX = 3.0
"""On a busy machine; who waits for a service that hangs waits far longer."""

NUMBER = (int, float)
DEEPSEEKS = {
    "status": str,
    "model_loaded": bool,
    "gpu_available": bool,
    "timestamp": NUMBER,
}
CHATVLMS = {
    "status": str,
    "gpu_available": bool,
    "gpu_name": (str, type(None)),
    "models_loaded": int,
    "loaded_models": list,
}
OTHERS = {"device": str, "memory_used_mb": (*NUMBER, type(None))}
"""Paddle's; lighton's and dots' keys are among the others'."""


@pytest.fixture(scope="module")
def router() -> Iterator[Routed]:
    with routed_fleet() as made:
        yield made


async def _hang(call: Call) -> None:
    await call.until_hangup()


async def _well(call: Call) -> None:
    await call.reply(body=b'{"model":"dots-ocr","response":"read","done":true}')


def get(url: str):
    """The answer, which may not take long."""
    began_s = time.monotonic()
    answer = http.get(url)
    assert time.monotonic() - began_s < ANSWER_S_MAX
    return answer


# ---- health


def test_health_tells_of_each_service_and_replica(router: Routed) -> None:
    assert http.post(router.url + "/ocr", json=DOTS).status_code == 200
    answer = get(router.url + "/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "healthy"
    assert list(body["services"]) == list(MODELS)
    for name, service in body["services"].items():
        assert service["state"] == "healthy"
        assert service["wire"] == name
        assert MODELS[name] in service["models"]
        assert (service["in_flight"], service["queue"]) == (0, 0)
        (replica,) = service["replicas"]
        assert replica["url"].startswith("http://127.0.0.1:")
        assert (replica["state"], replica["breaker"]) == ("ready", "closed")
        assert replica["engine"] == "fake/script"
        assert replica["probe_ms"] > 0
    asked = body["services"]["dots"]["replicas"][0]
    assert asked["latency_ms"] > 0


@pytest.mark.parametrize(
    ("legacy", "keys"),
    [(True, DEEPSEEKS | CHATVLMS), (False, DEEPSEEKS | CHATVLMS | OTHERS | {"services": dict})],
    ids=["8000", "8100"],
)
def test_health_is_the_union_of_the_documented_bodies(router: Routed, legacy: bool, keys) -> None:
    body = get((router.legacy if legacy else router.url) + "/health").json()
    assert set(body) == set(keys)
    for key, kind in keys.items():
        assert isinstance(body[key], kind), key
        assert kind in (bool, dict) or not isinstance(body[key], bool), key
    assert body["models_loaded"] == len(body["loaded_models"])


def test_the_shared_port_tells_of_its_two_services() -> None:
    with (
        served("lighton") as lighton,
        served("chatvlm") as chatvlm,
        routed({"lighton": lighton, "chatvlm": chatvlm}, **QUICK) as router,
    ):
        model = "qwen3_vl_2b"
        loaded = lambda: http.get(router.legacy + "/health").json()["loaded_models"]  # noqa: E731
        assert loaded() == []
        ask = next(one for one in ASKS if one.name == "chatvlm")
        http.post(
            router.legacy + ask.path, content=ask.body, headers={"content-type": ask.media_type}
        )
        wait_until(lambda: loaded() == [model])
        everything = http.get(router.url + "/health").json()
        assert everything["loaded_models"] == ["LightOnOCR-1B-1025", model]
        assert everything["models_loaded"] == 2


def test_the_shared_port_says_when_deepseeks_model_is_not_there() -> None:
    with stub(_well) as chatvlm:
        dead = f"http://127.0.0.1:{free_port()}"
        with routed({"deepseek": dead, "chatvlm": chatvlm.url}, ready=False, **QUICK) as router:
            wait_until(
                lambda: (
                    http.get(router.url + "/health").json()["status"] == "degraded"
                    and http.get(router.legacy + "/health").json()["model_loaded"] is False
                )
            )
            assert http.get(router.legacy + "/health").json()["status"] == "healthy"


# ---- readiness


@pytest.mark.parametrize("kind", ["nobody listens", "nobody answers", "it is not ready"])
def test_readyz_is_503_when_nothing_behind_can_serve(kind: str) -> None:
    async def loading(call: Call) -> None:
        await call.reply(503, b'{"status":"not ready"}')

    with stub(_well) as dots:
        dots.probe = _hang if kind == "nobody answers" else loading
        url = f"http://127.0.0.1:{free_port()}" if kind == "nobody listens" else dots.url
        with routed({"dots": url}, ready=False, **QUICK) as router:
            ready = get(router.url + "/readyz")
            assert ready.status_code == 503, "nothing is known of the replica yet"
            wait_until(lambda: get(router.url + "/health").json()["status"] == "unhealthy")
            for base in (router.url, router.legacy):
                assert get(base + "/readyz").status_code == 503
                assert get(base + "/readyz").json()["status"] == "not ready"
                assert get(base + "/livez").status_code == 200
                assert get(base + "/health").status_code == 200
            assert get(router.url + "/v1/models").status_code == 200
            if kind != "nobody listens":
                dots.probe = _well
                wait_until(lambda: get(router.url + "/readyz").status_code == 200)
                assert get(router.url + "/health").json()["status"] == "healthy"


def test_one_service_is_enough_to_be_ready() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with (
        stub(_well) as dots,
        routed({"dots": dots.url, "lighton": dead}, ready=False, **QUICK) as router,
    ):
        wait_until(lambda: get(router.url + "/readyz").status_code == 200)
        wait_until(lambda: get(router.url + "/health").json()["status"] == "degraded")
        services = get(router.url + "/health").json()["services"]
        assert services["dots"]["state"] == "healthy"
        assert services["lighton"]["state"] == "unhealthy"
        wait_until(
            lambda: (
                get(router.url + "/health").json()["services"]["lighton"]["replicas"][0]["why"]
                != ""
            )
        )


def test_a_service_that_hangs_slows_nothing() -> None:
    """Neither its probes nor the requests it never answers hold up what the router says."""
    with (
        stub(_hang) as hanging,
        stub(_well) as dots,
        routed({"lighton": hanging.url, "dots": dots.url}, ready=False, **QUICK) as router,
    ):
        hanging.probe = _hang
        wait_until(lambda: get(router.url + "/readyz").status_code == 200)
        for path in ("/health", "/readyz", "/livez", "/metrics", "/v1/models", "/models"):
            assert get(router.url + path).status_code == 200
        for path in ("/health", "/readyz", "/livez", "/metrics"):
            assert get(router.legacy + path).status_code == 200
        assert http.post(router.url + "/ocr", json=DOTS).status_code == 200


# ---- metrics


GAUGES = (
    "ocr_fleet_router_buffered_bytes",
    "ocr_fleet_router_loop_lag_seconds",
    "ocr_fleet_router_pool_slots",
    "ocr_fleet_router_pool_in_flight",
    "ocr_fleet_router_pool_waiting",
    "ocr_fleet_router_queue_age_seconds",
    "ocr_fleet_router_replica_up",
    "ocr_fleet_router_breaker_state",
    "ocr_fleet_router_upstream_latency_seconds",
)


def test_metrics_tell_what_happens() -> None:
    ask = next(one for one in ASKS if one.name == "dots")
    with (
        stub(_hang) as dots,
        routed({"dots": {"replicas": [dots.url], "replica_slots": 1}}) as router,
    ):
        values = _metrics(router)
        assert {name for name, _ in values} >= set(GAUGES)
        label = 'service="dots"'
        assert values["ocr_fleet_router_pool_slots", label] == 1
        assert values["ocr_fleet_router_pool_in_flight", label] == 0
        replica = f'replica="{dots.url}",service="dots"'
        assert values["ocr_fleet_router_replica_up", replica] == 1
        assert values["ocr_fleet_router_breaker_state", replica] == 0
        with calling(router.url) as first, calling(router.url) as second:
            for one in (first, second):
                one.send(ask.message("dots"))
            wait_until(lambda: router.app.state.pools["dots"].snapshot().waiting == 1)
            values = _metrics(router)
            assert values["ocr_fleet_router_pool_in_flight", label] == 1
            assert values["ocr_fleet_router_pool_waiting", label] == 1
            wait_until(lambda: _metrics(router)["ocr_fleet_router_queue_age_seconds", label] > 0.05)
            assert values["ocr_fleet_router_buffered_bytes", ""] > 200
        wait_until(lambda: _metrics(router)["ocr_fleet_router_buffered_bytes", ""] == 0)
        dots.behaviour = _well
        assert http.post(router.url + "/ocr", json=DOTS).status_code == 200
        values = _metrics(router)
        assert values["ocr_fleet_router_upstream_latency_seconds", replica] > 0
        done = 'model="dots-ocr",outcome="ok",service="router"'
        gone = 'model="dots-ocr",outcome="cancelled",service="router"'
        assert values["ocr_fleet_requests_total", done] == 1
        assert values["ocr_fleet_requests_total", gone] == 2
        assert (
            "ocr_fleet_first_delta_seconds_count",
            'model="dots-ocr",service="router"',
        ) in values


def _metrics(router: Routed) -> dict[tuple[str, str], float]:
    """Values by name and sorted labels."""
    found: dict[tuple[str, str], float] = {}
    for line in http.get(router.url + "/metrics").text.splitlines():
        if not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            name, _, labels = key.partition("{")
            found[name, ",".join(sorted(labels.rstrip("}").split(",")))] = float(value)
    return found


# ---- the log


@pytest.mark.parametrize("service", ["dots", "lighton"])
def test_a_request_is_one_line_of_the_log(router: Routed, service: str) -> None:
    """What passes through, and what is translated."""
    headers = {"x-request-id": f"mine-{service}", "x-ocr-model": MODELS[service]}
    with capture_logs() as logs:
        answer = http.post(router.url + "/ocr", json=DOTS, headers=headers)
        assert answer.headers["x-request-id"] == f"mine-{service}"
        wait_until(lambda: any(_is_routers(line) for line in logs))
    lines = [line for line in logs if _is_routers(line)]
    assert len(lines) == 1
    line = lines[0]
    assert line["request_id"] == f"mine-{service}"
    assert (line["method"], line["path"], line["status"]) == ("POST", "/ocr", 200)
    assert (line["dialect"], line["service"]) == ("dots", service)
    assert line["replica"].startswith("http://127.0.0.1:")
    assert (line["model"], line["outcome"], line["stop"]) == (MODELS[service], "ok", "stop")
    assert line["pages"] == 1
    assert line["tokens"] > 0
    assert 0 < line["first_delta_ms"] <= line["total_ms"]
    services = [one for one in logs if one.get("request_id") == f"mine-{service}"]
    assert len(services) == 2, "the service's own line has the same id"
    json.dumps(line)


def _is_routers(line) -> bool:
    return line.get("event") == "request" and "replica" in line
