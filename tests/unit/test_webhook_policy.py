"""Where webhooks may go: what a URL tells, and what an address is."""

from __future__ import annotations

import pytest

from treadle.errors import ConfigError, InvalidRequest
from treadle.graphs.webhooks import UrlRules
from treadle.webhooks.policy import WebhookPolicy, networks

OPEN = WebhookPolicy(None)


def refusal(url: str, rules: UrlRules | None = None, allowed: str = "") -> str:
    with pytest.raises(InvalidRequest) as raised:
        WebhookPolicy(rules, networks(allowed)).check(url)
    return str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook?key=1",
        "https://user:secret@example.com:8443/hook",
        "https://xn--mnchen-3ya.de/",
        "https://münchen.de/",
        "http://93.184.216.34/",
        "http://[2606:2800:220:1:248:1893:25c8:1946]/",
    ],
)
def test_any_public_host_may_be_called_without_rules(url: str) -> None:
    OPEN.check(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "a relative URL"),
        ("/path", "a relative URL"),
        ("//example.com/x", "begins with http:// or https://"),
        ("ftp://example.com", "begins with http:// or https://"),
        ("http://", "begins with http:// or https://"),
        ("mailto:a@example.com", "begins with http:// or https://"),
        ("http://example.com\n/", "it is not a URL"),
        ("http://exa mple.com/", "is not the name of a host"),
        ("http://example.com:0/", "no port 0"),
        ("http://example.com:99999/", "no port 99999"),
        ("http://localhost/", "127.0.0.1 is a loopback address"),
        ("http://LOCALHOST./", "127.0.0.1 is a loopback address"),
        ("http://api.localhost/", "127.0.0.1 is a loopback address"),
        ("http://127.8.9.1/", "a loopback address"),
        ("http://[::1]/", "a loopback address"),
        ("http://0.0.0.0/", "an unspecified address"),
        ("http://[::]/", "an unspecified address"),
        ("http://169.254.169.254/latest/meta-data", "a link-local address"),
        ("http://[fe80::1]/", "a link-local address"),
        ("http://224.0.0.1/", "a multicast address"),
        ("http://[ff02::1]/", "a multicast address"),
        ("http://10.0.0.1/", "a private or reserved address"),
        ("http://172.16.0.1/", "a private or reserved address"),
        ("http://192.168.1.1/", "a private or reserved address"),
        ("http://100.64.0.1/", "a private or reserved address"),
        ("http://198.18.0.1/", "a private or reserved address"),
        ("http://240.0.0.1/", "a private or reserved address"),
        ("http://255.255.255.255/", "a private or reserved address"),
        ("http://[fd00::1]/", "a private or reserved address"),
        ("http://[fec0::1]/", "a private or reserved address"),
        ("http://[::ffff:127.0.0.1]/", "a loopback address"),
        ("http://[::ffff:10.0.0.1]/", "a private or reserved address"),
        ("http://[64:ff9b::7f00:1]/", "a loopback address"),
        ("http://[64:ff9b:1::1]/", "a private or reserved address"),
        ("http://[2002:7f00:1::]/", "a loopback address"),
        ("http://[2001:0:7f00:1::]/", "a loopback address"),
        ("http://[::127.0.0.1]/", "a private or reserved address"),
        ("http://[::ffff:0:127.0.0.1]/", "a private or reserved address"),
        ("http://[4000::1]/", "a private or reserved address"),
        ("http://[fe80::1%25eth0]/", "a link-local address"),
        ("http://[::1%25lo]/", "a loopback address"),
        ("http://168.63.129.16/", "the address of a cloud's own services"),
        ("http://0x7f.1/", "127.0.0.1 is a loopback address"),
        ("http://0X7F.0x1./", "127.0.0.1 is a loopback address"),
        ("http://2130706433/", "127.0.0.1 is a loopback address"),
        ("http://017700000001/", "127.0.0.1 is a loopback address"),
        ("http://0/", "0.0.0.0 is an unspecified address"),
        ("http://127。0。0。1/", "127.0.0.1 is a loopback address"),
        ("http://127%2e0.0.1/", "is not the name of a host"),
        ("http://example.com\\@127.0.0.1/", "127.0.0.1 is a loopback address"),
        (f"http://{'a' * 64}.com/", "is not the name of a host"),
        (f"http://{'a.' * 127}com/", "is not the name of a host"),
        ("http://.example.com/", "is not the name of a host"),
        ("http://a..com/", "is not the name of a host"),
        (f"http://example.com/{'x' * 8192}", "longer than 8192 characters"),
    ],
)
def test_what_the_url_tells_is_refused(url: str, reason: str) -> None:
    message = refusal(url)

    assert message.startswith("webhook: ")
    assert reason in message


@pytest.mark.parametrize(
    ("rules", "url", "reason"),
    [
        (UrlRules(), "http://example.com/", "require_https"),
        (UrlRules(allowed_domains=["example.com"]), "https://example.org/", "allowed_domains"),
        (UrlRules(allowed_domains=["example.com"]), "https://a.example.com/", "allowed_domains"),
        (UrlRules(allowed_domains=["*.example.com"]), "https://example.com/", "allowed_domains"),
        (UrlRules(allowed_domains=["*.example.com"]), "https://notexample.com/", "allowed_domains"),
        (UrlRules(allowed_domains=["example.com"]), "https://example.com@evil.org/", "allowed_domains"),
        (UrlRules(allowed_ports=[443]), "https://example.com:8443/", "allowed_ports"),
        (UrlRules(max_url_length=24), "https://example.com/longer", "longer than 24"),
    ],
)
def test_rules_of_langgraph_json_narrow_it(rules: UrlRules, url: str, reason: str) -> None:
    assert reason in refusal(url, rules)


def test_what_the_rules_name_is_let_through() -> None:
    rules = UrlRules(allowed_domains=["Example.com", "*.example.org"], allowed_ports=[443])
    for url in ("https://EXAMPLE.com/", "https://a.b.example.org:443/", "https://example.com./"):
        WebhookPolicy(rules).check(url)


def test_networks_that_are_allowed_may_be_called() -> None:
    policy = WebhookPolicy(None, networks("127.0.0.0/8, 10.1.0.0/16"))

    for url in ("http://localhost:8000/", "http://10.1.2.3/", "http://[::ffff:10.1.2.3]/"):
        policy.check(url)
    assert "a private" in refusal("http://10.2.0.1/", allowed="127.0.0.0/8, 10.1.0.0/16")


def test_loopback_is_allowed_by_langgraph_json_too() -> None:
    policy = WebhookPolicy(UrlRules(require_https=False, disable_loopback=False))

    policy.check("http://127.0.0.1:8000/")
    policy.check("http://[::1]:8000/")


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"TREADLE_WEBHOOK_ALLOWED_NETWORKS cannot be used: 10\.0\.0\.1/8 has host bits set"
    ):
        networks("127.0.0.0/8,10.0.0.1/8")
