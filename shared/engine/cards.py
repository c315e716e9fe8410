"""The machine's CUDA cards, asked of NVIDIA's management library: no framework is imported for it,
no context opened on a card. A machine without the library has no cards.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

LIBRARY: Final = "libnvidia-ml.so.1"

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"

MIB: Final = 1024 * 1024

_NAME_BYTES: Final = 96
"""NVML_DEVICE_NAME_V2_BUFFER_SIZE and NVML_DEVICE_UUID_V2_BUFFER_SIZE."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One card."""

    index: int
    """Its number on the machine, as nvidia-smi counts."""
    name: str
    uuid: str
    memory_mib: float
    used_mib: float = 0.0
    """By all processes together."""


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def visible_cards(environ: Mapping[str, str] | None = None) -> tuple[Card, ...]:
    """The cards that this process may use, in CUDA's order."""
    environ = os.environ if environ is None else environ
    return choose_visible(find_cards(), environ.get(VISIBLE))


def choose_visible(cards: Sequence[Card], visible: str | None) -> tuple[Card, ...]:
    """The cards that `CUDA_VISIBLE_DEVICES` leaves. CUDA reads it up to the first entry that names
    no card; parts of a card (MIG) are named after it."""
    if visible is None:
        return tuple(cards)
    chosen: list[Card] = []
    for entry in (part.strip() for part in visible.split(",")):
        found = [card for card in cards if _is_named(card, entry)]
        if not found or found[0] in chosen:
            break
        chosen.append(found[0])
    return tuple(chosen)


def _is_named(card: Card, entry: str) -> bool:
    if entry.isdigit():
        return card.index == int(entry)
    return entry.startswith("GPU-") and card.uuid.startswith(entry)


def find_cards() -> tuple[Card, ...]:
    """All cards of the machine."""
    with _library() as nvml:
        if nvml is None:
            return ()
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return ()
        return tuple(
            card for index in range(count.value) if (card := _read(nvml, index)) is not None
        )


@contextmanager
def _library() -> Iterator[ctypes.CDLL | None]:
    try:
        nvml = ctypes.CDLL(LIBRARY)
    except OSError:
        yield None
        return
    if nvml.nvmlInit_v2():  # a driver that is not loaded, or another version's
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def _read(nvml: ctypes.CDLL, index: int) -> Card | None:
    device, memory = ctypes.c_void_p(), _Memory()
    name, uuid = (ctypes.create_string_buffer(_NAME_BYTES) for _ in range(2))
    failed = (
        nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device))
        or nvml.nvmlDeviceGetName(device, name, _NAME_BYTES)
        or nvml.nvmlDeviceGetUUID(device, uuid, _NAME_BYTES)
        or nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
    )
    if failed:
        return None
    return Card(
        index=index,
        name=name.value.decode(errors="replace"),
        uuid=uuid.value.decode(errors="replace"),
        memory_mib=memory.total / MIB,
        used_mib=memory.used / MIB,
    )
