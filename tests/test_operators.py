"""Who may train: whoever opened the printed link, from wherever; nobody else, and no page of another origin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from playground.ui import operators
from playground.ui.operators import Operators, of_this_page
from tests.serving import cookie_of

HOST = "127.0.0.1:7860"


@pytest.fixture
def mine() -> Operators:
    return Operators(7860)


def visitor(cookie: str = "", peer: str = "127.0.0.1", username: str | None = None, **headers: str) -> Any:
    named = {"host": HOST, **({"cookie": cookie} if cookie else {}), **headers}
    return SimpleNamespace(client=SimpleNamespace(host=peer), headers=named, username=username)


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.5", "2001:db8::1", ""])
def test_the_secret_counts_and_not_where_a_request_comes_from(mine: Operators, peer: str) -> None:
    assert mine.refusal(visitor(cookie_of(mine), peer)) is None
    assert mine.refusal(visitor("", peer)) == operators.ELSEWHERE
    assert mine.refusal(visitor("", peer, username="ann")) == operators.ELSEWHERE
    assert mine.refusal(visitor(cookie_of(mine), peer, **{"x-forwarded-for": "8.8.8.8"})) is None


def test_a_secret_of_another_start_or_port_and_a_part_of_one_are_refused(mine: Operators) -> None:
    good = cookie_of(mine)
    name, _, value = good.partition("=")
    for bad in (
        cookie_of(Operators(7860)), cookie_of(Operators(7861)), f"{name}=", f"{name}={value[:-1]}", f"{name}={value}x",
        f"{name}=ü", f"{name}", "=", ";;", f"other={value}", f"{name}={value.swapcase()}", "a[b=1",
    ):  # fmt: skip
        assert mine.refusal(visitor(bad)) == operators.ELSEWHERE, bad
    for kept in (f"theme=dark; {good}", f"{good}; a[b=1", f"{name}=planted; {good}"):
        assert mine.refusal(visitor(kept)) is None, kept
    assert mine.refusal(SimpleNamespace(headers={})) == operators.ELSEWHERE
    assert mine.refusal(SimpleNamespace()) == operators.ELSEWHERE


def test_two_starts_have_two_secrets_and_neither_can_be_guessed() -> None:
    first, second = (cookie_of(Operators(1)).partition("=")[2] for _ in range(2))
    assert first != second
    assert len(first) >= 43, "256 bits in base64"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-site", "origin": f"http://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": ""},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://evil.org"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:7860.evil.org"},
        {"origin": "file://"},
        {"origin": ""},
    ],
)
def test_a_page_of_another_origin_in_the_operators_browser_may_not(mine: Operators, headers: dict[str, str]) -> None:
    assert not of_this_page({"host": HOST, **headers})
    assert mine.refusal(visitor(cookie_of(mine), **headers)) == operators.ELSEWHERE


@pytest.mark.parametrize(
    "headers", [{}, {"origin": f"http://{HOST}"}, {"origin": "https://public.org", "sec-fetch-site": "same-origin"}]
)
def test_the_page_itself_may(mine: Operators, headers: dict[str, str]) -> None:
    assert mine.refusal(visitor(cookie_of(mine), **headers)) is None


def test_an_origin_without_a_host_to_compare_is_refused() -> None:
    assert not of_this_page({"origin": "http://127.0.0.1"})


def test_the_link_names_an_address_that_can_be_opened_and_the_cookie_is_shut(mine: Operators) -> None:
    assert mine.link("0.0.0.0", 80).startswith("http://127.0.0.1:80/?operator=")
    assert mine.link("192.168.1.2", 7860).startswith("http://192.168.1.2:7860/?operator=")
    assert mine.set_cookie(False).endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert mine.set_cookie(True).endswith("; Secure")


def test_nobody_may_on_a_space_or_where_a_gpu_is_lent(mine: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in = visitor(cookie_of(mine))
    monkeypatch.setattr(operators, "get_space", lambda: "someone/space")
    assert mine.refusal(signed_in) == mine.refusal(visitor()) == operators.ON_A_SPACE
    monkeypatch.setattr(operators, "get_space", lambda: None)
    assert mine.refusal(signed_in) is None
    monkeypatch.setattr(operators.zero_gpu, "present", lambda: True)
    assert mine.refusal(signed_in) == operators.ON_A_SPACE
