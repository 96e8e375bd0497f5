import ipaddress
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.http import addresses
from muster.storage.http.addresses import is_private, names_private, private_addresses, private_allowed

PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1"),
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "172.32.0.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert not is_private(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_what_it_is_however_it_is_written(address: ipaddress.IPv4Address) -> None:
    mapped = (f"::ffff:{address}", f"64:ff9b::{address}")
    assert {is_private(each) for each in mapped} == {is_private(str(address))}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]", "10.0.0.1"])
def test_hosts_that_are_private_by_name(host: str) -> None:
    assert names_private(host)
    assert not names_private("example.com")


def test_what_is_allowed_is_so_for_a_while_and_for_one_thread() -> None:
    seen = []
    with private_addresses(True):
        with private_addresses(False):
            assert not private_allowed()
        thread = threading.Thread(target=lambda: seen.append(private_allowed()))
        thread.start()
        thread.join()
        assert private_allowed()
    assert not private_allowed()
    assert seen == [False]


def test_names_are_looked_up_and_numbers_as_the_system_reads_them() -> None:
    assert addresses.addresses("localhost", 80, 5) in (["127.0.0.1"], ["::1", "127.0.0.1"], ["127.0.0.1", "::1"])
    for form in ("127.1", "2130706433", "0x7f000001"):
        assert addresses.addresses(form, 80, 5) == ["127.0.0.1"]
    for nobody in ("nobody.invalid", "a" * 300):
        with pytest.raises(OSError, match=r"\S"):
            addresses.addresses(nobody, 80, 5)


def test_look_ups_that_hang_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()
    monkeypatch.setattr(addresses, "_looking_up", threading.BoundedSemaphore(2))
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: ends.wait(10) and [])
    began, before = time.monotonic(), threading.active_count()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            addresses.addresses("slow.example", 80, 0.1)
    assert time.monotonic() - began < 2
    assert threading.active_count() <= before + 2
    ends.set()
    while any(thread.name == "look-up" for thread in threading.enumerate()):
        time.sleep(0.01)
