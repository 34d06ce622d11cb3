"""Whatever leads to an address that is not public is refused, however it is written."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.errors import InvalidRequest
from treadle.webhooks.guard import AddressRefused, GuardedNetwork, resolve
from treadle.webhooks.policy import WebhookPolicy

OPEN = WebhookPolicy(None)
INSIDE = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
    )
]
inside = st.sampled_from(INSIDE).flatmap(
    lambda network: st.integers(int(network[0]), int(network[-1])).map(IPv4Address)
)
any_v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
any_v6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@st.composite
def numbers(draw: st.DrawFn, address: IPv4Address) -> str:
    """An address as `inet_aton` takes it: one to four numbers, each decimal, octal or hexadecimal."""
    count = draw(st.integers(1, 4))
    value, parts = int(address), list(address.packed)
    last = value & ((1 << 8 * (5 - count)) - 1)
    forms = [draw(st.sampled_from(("{}", "0{:o}", "0x{:x}", "0X{:X}", "0x000{:x}"))) for _ in range(count)]
    return ".".join(form.format(part) for form, part in zip(forms, [*parts[: count - 1], last], strict=True))


def embedded(address: IPv4Address) -> st.SearchStrategy[IPv6Address]:
    """IPv6 addresses that stand for an IPv4 one: mapped, 6to4, NAT64, Teredo, compatible, translated."""
    value = int(address)
    return st.sampled_from(
        (
            0xFFFF << 32 | value,
            0x2002 << 112 | value << 80 | 1,
            0x64FF9B << 96 | value,
            0x20010000 << 96 | value << 64,
            0x20010000 << 96 | 0x08080808 << 64 | (value ^ 0xFFFFFFFF),
            value,
            0xFFFF << 48 | value,
        )
    ).map(IPv6Address)


@st.composite
def hosts(draw: st.DrawFn) -> str:
    """A host that is an address inside, somehow written."""
    address = draw(inside)
    if draw(st.booleans()):
        zone = draw(st.sampled_from(("", "%25eth0", "%eth0")))
        six = draw(embedded(address))
        return f"[{draw(st.sampled_from((six.compressed, six.exploded, six.exploded.upper())))}{zone}]"
    dot = draw(st.sampled_from((".", "\u3002", "\uff0e")))
    return draw(numbers(address)).replace(".", dot) + draw(st.sampled_from(("", ".")))


@settings(deadline=None)
@given(
    hosts(),
    st.sampled_from(("", "u:p@", "example.com@", "example.com\\@", "a%40example.com:@")),
    st.booleans(),
)
def test_a_url_with_an_address_inside_is_refused_however_it_is_written(
    host: str, user: str, tls: bool
) -> None:
    with pytest.raises(InvalidRequest, match="webhook: "):
        OPEN.check(f"{'HTTPS' if tls else 'http'}://{user}{host}:8080/x?y#z")


@settings(deadline=None)
@given(inside.flatmap(numbers))
def test_what_the_policy_reads_as_an_address_is_what_the_resolver_reads(text: str) -> None:
    """One that is written so that only the resolver knows it would be refused later, but refused."""
    [(*_, found)] = socket.getaddrinfo(text, 80, socket.AF_INET, socket.SOCK_STREAM)
    with pytest.raises(InvalidRequest, match=f"{found[0]} is |not a URL"):
        OPEN.check(f"http://{text}/")


@settings(deadline=None)
@given(any_v4 | any_v6 | inside.flatmap(embedded))
def test_no_address_is_called_that_is_not_public(address: IPv4Address | IPv6Address) -> None:
    meant = [address]
    if isinstance(address, IPv6Address):
        meant += [each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each]
        meant = [address.ipv4_mapped] if address.ipv4_mapped else meant
    if OPEN.refusal(str(address)) is None:
        assert all(each.is_global and not each.is_multicast for each in meant), address


@settings(deadline=None)
@given(st.lists(any_v4 | inside | any_v6, max_size=4))
async def test_of_what_a_name_leads_to_only_public_addresses_are_connected_to(
    found: list[IPv4Address | IPv6Address],
) -> None:
    async def answer(host: str, port: int) -> list[str]:
        return [str(each) for each in found]

    network: Any = GuardedNetwork(OPEN, answer)
    public = [str(each) for each in found if OPEN.refusal(str(each)) is None]
    if found and not public:
        with pytest.raises(AddressRefused):
            await network._allowed("hooks.example.com", 443)
        return
    assert await network._allowed("hooks.example.com", 443) == list(dict.fromkeys(public))


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("0123456789abcdefxX.:[]%@/\\。-_", max_size=40))
def test_any_text_is_a_url_that_may_be_called_or_refused(text: str) -> None:
    for url in (text, f"http://{text}/", f"https://{text}"):
        try:
            OPEN.check(url)
        except InvalidRequest as error:
            assert str(error).startswith("webhook: ")  # noqa: PT017 - either is right


@pytest.mark.parametrize("host", ["a" * 64, ".example.com", "a..b", "\ud800", "\0"])
async def test_a_host_that_is_no_name_cannot_be_resolved_and_breaks_nothing(host: str) -> None:
    with pytest.raises((OSError, ValueError)) as raised:
        await resolve(host, 80)
    assert not isinstance(raised.value, UnicodeError)
