"""The door: keys and how they are stored, who asks, how often, and what proxies say of it."""

from __future__ import annotations

import math
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

from shared.access import NO_KEY, NOBODY, UNKNOWN_KEY, Access, Buckets, Caller
from shared.errors import NotAllowed, RateLimited, UnknownModel
from shared.forwarding import HOPS_MAX, find_client, read_networks
from shared.keys import KeyRing, make_key, read_keys
from shared.sources import SettingError


def digest(shown: str) -> str:
    return sha256(shown.encode()).hexdigest()


def write_keys(path: Path, text: str) -> KeyRing:
    path.write_text(text)
    return read_keys(path)


@pytest.fixture
def ring(tmp_path) -> KeyRing:
    return write_keys(
        tmp_path / "keys.toml",
        f"""
        [keys.alice]
        sha256 = "{digest("alice-key")}"

        [keys.bob]
        sha256 = "{digest("bob-key")}"
        requests_per_minute = 2
        share = 0.25
        models = ["dots-ocr", "deepseek-ocr"]
        """,
    )


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", f"Bearer {key}".encode())]


# ---- keys


def test_a_made_key_opens_the_door_and_is_not_in_the_file(tmp_path) -> None:
    shown, lines = make_key("carol@lab")
    ring = write_keys(tmp_path / "keys.toml", lines)
    found = ring.find(shown)
    assert found is not None
    assert found.name == "carol@lab"
    assert shown.startswith("ocr-")
    assert len(shown) > 40
    assert shown not in lines
    assert shown not in repr(ring)
    assert ring.find(shown[:-1]) is None
    assert ring.find("") is None
    assert make_key("carol@lab")[0] != shown
    assert tomllib.loads(lines) == {"keys": {"carol@lab": {"sha256": digest(shown)}}}


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 65, '"'])
def test_a_name_that_would_break_a_line_is_refused(name) -> None:
    with pytest.raises(SettingError, match="the name"):
        make_key(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key; `ocr-fleet key NAME` makes one"),
        ("[keys]", "holds no key"),
        ("x =", "is not TOML"),
        ("[key.a]\nsha256 = ''", "key is no table in"),
        ("[keys]\na = 1", "keys.a in"),
        ("[keys.a]\nsha = ''", "sha is no setting in keys.a in"),
        ("[keys.a]\nsha256 = 'abc'", "keys.a in"),
        ("[keys.a]", "missing required field `sha256`"),
        (f"[keys.a]\nsha256 = '{'0' * 64}'\nshare = 2", "`$.share`"),
        (f"[keys.a]\nsha256 = '{'0' * 64}'\nrequests_per_minute = 0", "`$.requests_per_minute`"),
        (f"[keys.a]\nsha256 = '{'0' * 64}'\n[keys.b]\nsha256 = '{'0' * 64}'", "under two names"),
    ],
)
def test_a_wrong_key_file_says_what_and_where_in_one_line(tmp_path, text, said) -> None:
    path = tmp_path / "keys.toml"
    with pytest.raises(SettingError) as caught:
        write_keys(path, text)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(SettingError, match=r"cannot read the key file .*nowhere"):
        read_keys(tmp_path / "nowhere")


# ---- who asks


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer alice-key")],
        [(b"authorization", b"bearer  alice-key ")],
        [(b"authorization", b"token alice-key")],
        [(b"x-api-key", b"alice-key")],
        [(b"authorization", b"Bearer null"), (b"x-api-key", b"alice-key")],
        [(b"authorization", b"Basic YTpi"), (b"x-api-key", b"alice-key")],
    ],
)
def test_a_key_is_known_wherever_clients_put_it(ring, headers) -> None:
    caller = Access(ring).admit(headers, "192.0.2.7", 0.0)
    assert caller.name == "alice"
    assert caller.share is None
    assert caller.may_use("anything")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([], NO_KEY),
        ([(b"authorization", b"Bearer")], NO_KEY),
        ([(b"authorization", b"Basic alice-key")], NO_KEY),
        ([(b"x-api-key", b" ")], NO_KEY),
        (bearer("wrong"), UNKNOWN_KEY),
        (bearer("alice-key "[:-2]), UNKNOWN_KEY),
        ([(b"x-api-key", b"\xff\xfe")], UNKNOWN_KEY),
    ],
)
def test_without_a_known_key_nobody_comes_in(ring, headers, said) -> None:
    with pytest.raises(NotAllowed) as caught:
        Access(ring).admit(headers, "192.0.2.7", 0.0)
    assert str(caught.value) == said


def test_without_keys_everybody_comes_in_by_address_whatever_they_show() -> None:
    assert Access().admit(bearer("sk-anything"), "192.0.2.7", 0.0) == Caller("192.0.2.7")
    assert Access().admit([], "", 0.0).name == "local"


def test_a_key_may_be_kept_to_some_models(ring) -> None:
    bob = Access(ring).admit(bearer("bob-key"), "", 0.0)
    assert bob.share == 0.25
    bob.check_model("dots-ocr")
    with pytest.raises(UnknownModel) as caught:
        bob.check_model("got_ocr")
    assert str(caught.value) == "Model 'got_ocr' not found. Available: dots-ocr, deepseek-ocr"
    NOBODY.check_model("got_ocr")


def test_keys_set_anew_hold_from_the_next_request_on(ring, tmp_path) -> None:
    access = Access(ring)
    access.admit(bearer("alice-key"), "", 0.0)
    access.keys = write_keys(tmp_path / "new.toml", f'[keys.a]\nsha256 = "{digest("new")}"')
    with pytest.raises(NotAllowed):
        access.admit(bearer("alice-key"), "", 0.0)
    assert access.admit(bearer("new"), "", 0.0).name == "a"


# ---- how often


def test_a_key_has_its_own_rate_and_hears_when_to_come_back(ring) -> None:
    access = Access(ring, requests_per_minute=100)
    for _ in range(2):
        access.admit(bearer("bob-key"), "192.0.2.7", 10.0)
    with pytest.raises(RateLimited) as caught:
        access.admit(bearer("bob-key"), "192.0.2.8", 10.5)
    assert caught.value.retry_after_s == 30, "half a second of thirty has come back"
    access.admit(bearer("alice-key"), "192.0.2.7", 10.5)
    access.admit(bearer("bob-key"), "192.0.2.7", 40.0)


def test_a_client_that_comes_back_when_it_was_told_is_let_in(ring) -> None:
    access = Access(requests_per_minute=7)
    for _ in range(7):
        access.admit([], "192.0.2.7", 0.0)
    now_s = 0.0
    for _ in range(33):
        with pytest.raises(RateLimited) as caught:
            access.admit([], "192.0.2.7", now_s)
        assert caught.value.retry_after_s is not None
        now_s += caught.value.retry_after_s
        access.admit([], "192.0.2.7", now_s)
    assert 60 * 33 / 7 <= now_s < 60 * 33 / 7 + 33, "at their rate, in whole seconds"


def test_addresses_are_counted_apart_and_ipv6_by_its_network() -> None:
    access = Access(requests_per_minute=1)
    access.admit([], "192.0.2.1", 0.0)
    access.admit([], "192.0.2.2", 0.0)
    access.admit([], "2001:db8:1:2::5", 0.0)
    with pytest.raises(RateLimited):
        access.admit([], "2001:db8:1:2:ffff::6", 0.0)
    access.admit([], "2001:db8:1:3::5", 0.0)


def test_a_service_behind_the_router_counts_nothing(ring) -> None:
    access = Access(ring, counts=False)
    for _ in range(10):
        assert access.admit(bearer("bob-key"), "", 0.0).name == "bob"


def test_no_rate_no_bucket() -> None:
    access = Access()
    for at in range(1000):
        access.admit([], "192.0.2.7", at / 1000)


def test_idle_buckets_are_forgotten_and_their_number_is_bounded() -> None:
    buckets = Buckets(buckets_max=100)
    for at in range(1000):
        assert buckets.take(f"client {at}", 60, 0.0) == 0
    assert len(buckets) == 100
    buckets.take("late", 60, 61.0)
    assert len(buckets) == 1


def test_a_clock_that_stands_still_or_runs_back_gives_nothing_away() -> None:
    buckets = Buckets()
    assert buckets.take("a", 1, 100.0) == 0
    assert math.isclose(buckets.take("a", 1, 100.0), 60.0)
    assert math.isclose(buckets.take("a", 1, 50.0), 60.0)


# ---- proxies

TRUSTED = read_networks(["10.0.0.0/8", "2001:db8::/64"])


def xff(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"forwarded", value.encode("latin-1")) for value in values]


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        # From somebody we do not trust a header says nothing.
        ("192.0.2.1", xff("198.51.100.7"), "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", xff("198.51.100.7"), "198.51.100.7"),
        # The client wrote the first part itself.
        ("10.0.0.1", xff("6.6.6.6, 198.51.100.7"), "198.51.100.7"),
        ("10.0.0.1", xff("6.6.6.6", "198.51.100.7, 10.0.0.2"), "198.51.100.7"),
        ("10.0.0.1", xff("10.0.0.9, 10.0.0.2"), "10.0.0.9"),
        # With a port, as some proxies write it.
        ("10.0.0.1", xff("198.51.100.7:4711"), "198.51.100.7"),
        ("10.0.0.1", xff("[2001:db8:5::1]:4711"), "2001:db8:5::/64"),
        ("10.0.0.1", xff("2001:db8:5::1"), "2001:db8:5::/64"),
        ("2001:db8::1", xff("198.51.100.7"), "198.51.100.7"),
        ("::ffff:10.0.0.1", xff("198.51.100.7"), "198.51.100.7"),
        # What cannot be read ends the chain at the last proxy that could.
        ("10.0.0.1", xff("198.51.100.7, unknown"), "10.0.0.1"),
        ("10.0.0.1", xff("unknown, 10.0.0.2"), "10.0.0.2"),
        ("10.0.0.1", xff("", " , "), "10.0.0.1"),
        ("10.0.0.1", xff("\xff"), "10.0.0.1"),
        # RFC 7239.
        ("10.0.0.1", forwarded("for=198.51.100.7;proto=https;by=10.0.0.1"), "198.51.100.7"),
        ("10.0.0.1", forwarded('For="[2001:db8:5::1]:99"'), "2001:db8:5::/64"),
        ("10.0.0.1", forwarded("for=6.6.6.6, for=198.51.100.7, for=10.0.0.2"), "198.51.100.7"),
        ("10.0.0.1", forwarded('for=198.51.100.7;host="a,for=6.6.6.6"'), "198.51.100.7"),
        ("10.0.0.1", forwarded('host="a;for=6.6.6.6";for=198.51.100.7'), "198.51.100.7"),
        ("10.0.0.1", forwarded("for=_hidden"), "10.0.0.1"),
        ("10.0.0.1", forwarded("proto=https"), "10.0.0.1"),
        # Both headers: one of them may be the client's own.
        ("10.0.0.1", xff("198.51.100.7") + forwarded("for=198.51.100.7"), "198.51.100.7"),
        ("10.0.0.1", xff("6.6.6.6") + forwarded("for=198.51.100.7"), "10.0.0.1"),
        ("", xff("6.6.6.6"), "local"),
    ],
)
def test_the_client_is_the_nearest_that_no_trusted_proxy_stands_before(
    peer, headers, client
) -> None:
    assert find_client(peer, headers, TRUSTED) == client


def test_without_trusted_proxies_the_connection_says_who_it_is() -> None:
    assert find_client("198.51.100.7", xff("6.6.6.6"), ()) == "198.51.100.7"
    assert find_client("::1", xff("6.6.6.6"), ()) == "::1"


def test_a_long_chain_is_looked_at_from_its_near_end_only() -> None:
    hops = ["6.6.6.6", *["10.0.0.2"] * (HOPS_MAX * 100)]
    assert find_client("10.0.0.1", xff(",".join(hops)), TRUSTED) == "10.0.0.2"


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy", "1.2.3"])
def test_what_is_no_network_is_refused(text) -> None:
    with pytest.raises(ValueError, match=text.split("/", maxsplit=1)[0]):
        read_networks([text])
