"""What the router says of itself and its fleet: health, models, metrics. Functions of the state
that it keeps; none waits for a service.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router.budget import Budget
from router.fleet import Service, Wire
from router.replica import BreakerState
from router.schedule import PoolState
from router.state import State, Told
from shared.access import Caller
from shared.http import Reply
from shared.wire import chatvlm
from shared.wire.answers import write_json

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNHEALTHY: Final = "unhealthy"

LEGACY_WIRES: Final = frozenset({Wire.DEEPSEEK, Wire.CHATVLM})
"""Both are documented on port 8000."""

BREAKERS: Final = {state: number for number, state in enumerate(BreakerState)}
"""Breaker states as numbers, for graphs."""


def write_health(state: State) -> Reply:
    """The whole fleet, and in the same object the union of the legacy bodies."""
    services = {service.name: _service(state, service) for service in state.fleet.services}
    states = {entry["state"] for entry in services.values()}
    status = HEALTHY if states == {HEALTHY} else DEGRADED if states != {UNHEALTHY} else UNHEALTHY
    return write_json(
        {**_union(state, state.fleet.services), "status": status, "services": services}
    )


def write_legacy_health(state: State) -> Reply:
    """Both documents' bodies in one, for the port that they share: their keys and no others, true
    to the two services. A fleet without them answers there as it can, and so does its health."""
    services = [one for one in state.fleet.services if one.wire in LEGACY_WIRES]
    union = _union(state, services or state.fleet.services)
    for key in ("device", "memory_used_mb"):
        del union[key]
    readers = [one for one in services if one.wire is Wire.DEEPSEEK]
    if readers:
        union["model_loaded"] = any(_ready(state, one) for one in readers)
    known = [row.id for row in chatvlm.MODELS]
    loaded = [model for model in union["loaded_models"] if model in known]
    return write_json({**union, "loaded_models": loaded, "models_loaded": len(loaded)})


def why_not_ready(state: State) -> str:
    """Empty when something behind the router can serve."""
    if any(state.alive(service) for service in state.fleet.services):
        return ""
    return "no replica of any service is alive"


def write_openai_models(models: Sequence[tuple[str, str]], created: int) -> Reply:
    """OpenAI's list of models; each with the service that has it as its owner."""
    data = [
        {"id": model, "object": "model", "created": created, "owned_by": owner}
        for model, owner in models
    ]
    return write_json({"object": "list", "data": data})


def write_chatvlm_models(state: State, caller: Caller) -> Reply:
    """The caller's models in chatvlm's shape. What is loaded its services have said themselves; the
    others are loaded while a replica of theirs is ready."""
    rows = {row.id: row for row in chatvlm.MODELS}
    available = [
        {
            "id": model,
            "name": rows[model].name if model in rows else model,
            "params": rows[model].params if model in rows else "",
        }
        for model in state.fleet.models
        if caller.may_use(model)
    ]
    loaded = [model for model in loaded_models(state) if caller.may_use(model)]
    return write_json({"available": available, "loaded": loaded})


def loaded_models(state: State) -> list[str]:
    """Ids of the models in memory, in the fleet's order."""
    loaded: dict[str, None] = {}
    for service in state.fleet.services:
        said = [told.health.get("loaded_models") for told in _told(state, service)]
        if any(isinstance(names, list) for names in said):
            loaded |= {
                str(name): None for names in said if isinstance(names, list) for name in names
            }
        elif _ready(state, service):
            loaded |= dict.fromkeys(service.models)
    return [model for model in state.fleet.models if model in loaded]


def _service(state: State, service: Service) -> dict[str, Any]:
    pool = state.pools[service.name].snapshot()
    kept = [replica for replica in pool.replicas if not replica.draining]
    usable = [replica for replica in kept if replica.usable and replica.ready]
    all_well = bool(kept) and len(usable) == len(kept)
    return {
        "state": HEALTHY if all_well else DEGRADED if usable else UNHEALTHY,
        "wire": service.wire,
        "models": list(service.models),
        "slots": pool.slots,
        "in_flight": pool.outstanding,
        "queue": pool.waiting,
        "oldest_waiting_s": round(pool.oldest_s, 3),
        "replicas": [
            {
                "url": replica.url,
                "state": "draining"
                if replica.draining
                else "ready"
                if replica.usable and replica.ready
                else "not ready",
                "breaker": replica.breaker,
                "engine": state.told.get(replica.url, Told()).engine,
                "slots": replica.slots,
                "in_flight": replica.outstanding,
                "latency_ms": None
                if replica.latency_s is None
                else round(replica.latency_s * 1000, 1),
                "probe_ms": round(state.told.get(replica.url, Told()).latency_s * 1000, 1),
                "why": replica.why,
            }
            for replica in pool.replicas
        ],
    }


def _union(state: State, services: Sequence[Service]) -> dict[str, Any]:
    """Every key of the five documented health bodies, true to these services."""
    told = [one for service in services for one in _told(state, service)]
    devices = [one.health.get("device") for one in told]
    names = [one.health.get("gpu_name") for one in told]
    memory = [one.health.get("memory_used_mb") for one in told]
    on_gpu = "cuda" in devices or any(one.health.get("gpu_available") is True for one in told)
    used = [value for value in memory if isinstance(value, int | float)]
    ready = any(_ready(state, service) for service in services)
    own = {model for service in services for model in service.models}
    loaded = [model for model in loaded_models(state) if model in own]
    return {
        "status": HEALTHY if ready else UNHEALTHY,
        "model_loaded": ready,
        "gpu_available": on_gpu,
        "gpu_name": next((name for name in names if isinstance(name, str)), None),
        "device": "cuda" if on_gpu else "cpu",
        "memory_used_mb": sum(used) if used else None,
        "models_loaded": len(loaded),
        "loaded_models": loaded,
        "timestamp": time.time(),
    }


def _told(state: State, service: Service) -> list[Told]:
    replicas = state.pools[service.name].snapshot().replicas
    return [state.told[one.url] for one in replicas if one.usable and one.url in state.told]


def _ready(state: State, service: Service) -> bool:
    replicas = state.pools[service.name].snapshot().replicas
    return any(replica.usable and replica.ready for replica in replicas)


class RouterCollector(Collector):
    """The router's own numbers, read when somebody scrapes them."""

    def __init__(self, state: State, budget: Budget, runaways: Mapping[str, int]) -> None:
        self._state = state
        self._budget = budget
        self._runaways = runaways

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield _gauge("buffered_bytes", "Request bodies held", {(): self._budget.held_bytes}, ())
        yield _gauge(
            "loop_lag_seconds",
            "How late the event loop was at worst since the last scrape",
            {(): self._state.take_lag_s()},
            (),
        )
        runaways = CounterMetricFamily(
            "ocr_fleet_router_runaways",
            "Answers stopped because they repeated themselves",
            labels=["model"],
        )
        for model, count in self._runaways.items():
            runaways.add_metric([model], count)
        yield runaways
        pools = {name: pool.snapshot() for name, pool in self._state.pools.items()}
        yield from _queues(pools)
        yield from _replicas(pools)


def _queues(pools: Mapping[str, PoolState]) -> Iterator[Metric]:
    every: tuple[tuple[str, str, dict[tuple[str, ...], float]], ...] = (
        ("pool_slots", "Slots of all replicas", {(n,): p.slots for n, p in pools.items()}),
        ("pool_in_flight", "Slots taken", {(n,): p.outstanding for n, p in pools.items()}),
        ("pool_waiting", "Requests in the queue", {(n,): p.waiting for n, p in pools.items()}),
        (
            "queue_age_seconds",
            "For how long the first in the queue has been waiting",
            {(n,): p.oldest_s for n, p in pools.items()},
        ),
    )
    for name, help_, values in every:
        yield _gauge(name, help_, values, ("service",))


def _replicas(pools: Mapping[str, PoolState]) -> Iterator[Metric]:
    replicas = [(name, one) for name, pool in pools.items() for one in pool.replicas]
    labels = ("service", "replica")
    yield _gauge(
        "replica_up",
        "1 when the replica can serve",
        {(name, one.url): float(one.usable and one.ready) for name, one in replicas},
        labels,
    )
    yield _gauge(
        "breaker_state",
        "0 closed, 1 open, 2 half open",
        {(name, one.url): BREAKERS[one.breaker] for name, one in replicas},
        labels,
    )
    yield _gauge(
        "upstream_latency_seconds",
        "Running mean of the time to a replica's first byte",
        {(name, one.url): one.latency_s or 0.0 for name, one in replicas},
        labels,
    )


def _gauge(
    name: str, help_: str, values: Mapping[tuple[str, ...], float], labels: Sequence[str]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"ocr_fleet_router_{name}", help_, labels=list(labels))
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
