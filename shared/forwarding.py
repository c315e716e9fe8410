"""Who a request comes from: the address of the connection, or the one that proxies name for it.

Forwarding headers are believed only from proxies that are trusted by name: anybody can send one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HOPS_MAX: Final = 32
"""Proxies in a row that are looked at, from the nearest; nobody has so many."""

FORWARDED_CHARS_MAX: Final = 1024
"""Of the standard header, whose quoting takes searching: it takes 10 ms at worst."""

LOCAL: Final = "local"
"""Who comes over a socket that has no address."""

IPV6_CLIENT_BITS: Final = 64
"""One customer of a provider has at least such a network: its addresses are one client."""

ELEMENT: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
PAIR: Final = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*")+')
"""RFC 7239: elements are parted by commas, their pairs by semicolons, both outside quotes."""


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises `ValueError` for what is neither an address nor a network."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def find_client(peer: str, headers: Headers, trusted: Sequence[Network]) -> str:
    """The client's address, as far as it can be believed; of IPv6 its network.

    The nearest proxy wrote last, so the chain is walked from its end to the first hop that is not
    trusted. Where `X-Forwarded-For` and `Forwarded` disagree, one of them came from the client and
    went through a proxy that does not know it: then neither is believed.
    """
    if not trusted and ":" not in peer:  # nearly all requests
        return peer or LOCAL
    address = _read(peer)
    if address is None:
        return peer or LOCAL
    if trusted and _is_trusted(address, trusted):
        chains = [chain for chain in _chains(headers) if chain]
        found = {_walk(address, chain, trusted) for chain in chains}
        if len(found) == 1:
            address = found.pop()
    return _shown(address)


def _walk(peer: Address, chain: Sequence[str], trusted: Sequence[Network]) -> Address:
    last = peer
    for hop in chain[: -HOPS_MAX - 1 : -1]:
        address = _read(hop)
        if address is None:
            return last
        last = address
        if not _is_trusted(address, trusted):
            return last
    return last


def _chains(headers: Headers) -> tuple[list[str], list[str]]:
    """The hops of either header, the nearest one last."""
    simple: list[str] = []
    standard: list[str] = []
    for name, value in headers:
        if name == b"x-forwarded-for":
            simple += value.decode("latin-1").split(",")
        elif name == b"forwarded":
            nearest = value[-FORWARDED_CHARS_MAX:].decode("latin-1")
            standard += [_for(one) for one in ELEMENT.findall(nearest)]
    return simple, standard


def _for(element: str) -> str:
    for pair in PAIR.findall(element):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return str(value.strip().strip('"'))
    return ""


def _read(hop: str) -> Address | None:
    """An address from `1.2.3.4`, `1.2.3.4:567`, `::1` or `[::1]:567`."""
    text = hop.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _shown(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return str(address)
    packed = int(address) >> (128 - IPV6_CLIENT_BITS) << (128 - IPV6_CLIENT_BITS)
    return f"{ipaddress.IPv6Address(packed)}/{IPV6_CLIENT_BITS}"
