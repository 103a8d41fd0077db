"""Who may train: the browser on this machine, by this page; not a proxy, a tunnel, another site, or another machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from playground.ui import operators
from playground.ui.operators import FORWARDED, at_the_machine, loopback, refusal

HERE = {"host": "127.0.0.1:7860", "user-agent": "a browser"}


def visitor(peer: str | None = "127.0.0.1", username: str | None = None, **headers: str) -> Any:
    client = None if peer is None else SimpleNamespace(host=peer)
    return SimpleNamespace(client=client, headers=HERE | headers, username=username)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("name", ["localhost:7860", "127.0.0.1", "[::1]:7860"])
def test_the_browser_on_this_machine_may(peer: str, name: str) -> None:
    assert at_the_machine(peer, {"Host": name})
    assert at_the_machine(peer, {"Host": name, "Origin": f"http://{name}"})
    assert refusal(visitor(peer, host=name)) is None


@pytest.mark.parametrize(
    "peer", ["10.0.0.5", "192.168.1.2", "8.8.8.8", "2001:db8::1", "", "testclient", "localhost.evil.org"]
)
def test_another_machine_may_not(peer: str) -> None:
    assert not at_the_machine(peer, HERE)
    assert refusal(visitor(peer)) == operators.ELSEWHERE


@pytest.mark.parametrize("header", FORWARDED)
@pytest.mark.parametrize("value", ["127.0.0.1", "", "localhost"])
def test_a_loopback_peer_behind_a_proxy_may_not_whatever_the_proxy_says(header: str, value: str) -> None:
    assert not at_the_machine("127.0.0.1", HERE | {header: value})
    assert not at_the_machine("127.0.0.1", HERE | {header.title(): value})


@pytest.mark.parametrize("name", ["", "abc.gradio.live", "evil.org:7860", "127.0.0.1.evil.org", "192.168.1.2:7860"])
def test_a_tunnel_and_a_foreign_name_that_resolves_here_may_not(name: str) -> None:
    assert not at_the_machine("127.0.0.1", {"host": name})


@pytest.mark.parametrize("origin", ["https://evil.org", "null", "http://127.0.0.1.evil.org", "file://"])
def test_a_page_of_another_site_in_the_operators_browser_may_not(origin: str) -> None:
    assert not at_the_machine("127.0.0.1", HERE | {"origin": origin})


def test_who_is_signed_in_may_and_nobody_without_a_peer() -> None:
    assert refusal(visitor("10.0.0.5", "ann", **{"x-forwarded-for": "8.8.8.8"})) is None
    assert refusal(visitor("10.0.0.5", "")) == operators.ELSEWHERE
    assert refusal(visitor(None)) == operators.ELSEWHERE


def test_nobody_may_on_a_space_or_where_a_gpu_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "get_space", lambda: "someone/space")
    assert refusal(visitor()) == refusal(visitor(username="ann")) == operators.ON_A_SPACE
    monkeypatch.setattr(operators, "get_space", lambda: None)
    assert refusal(visitor()) is None
    monkeypatch.setattr(operators.zero_gpu, "present", lambda: True)
    assert refusal(visitor()) == operators.ON_A_SPACE


def test_what_is_not_an_address_is_not_loopback() -> None:
    assert not any(map(loopback, ("0.0.0.0", "169.254.169.254", "127.0.0.1 ", "127.1", "LOCALHOST.", "a b")))
