"""What a request takes: rows as the decoders have them, positions to the full length, and never less than is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

from playground.decoding import engine
from playground.decoding.load import Load, load_of
from playground.decoding.policies.base import Resources
from playground.decoding.session import Session
from playground.decoding.trace import Request
from tests.table_lm import no_head
from tests.test_batch import POLICIES, resources
from tests.tiny_lm import TinyLM, TinyOutput

PROMPT = Request("Hello", max_tokens=10)  # TinyLM reads it as seven bytes
SOURCE = Request("Hello", max_tokens=10, source="A document.")


class Padded(TinyLM):
    """Pads every step to eight rows, and keeps the most rows of all passes between two prompts."""

    most = 0

    def rows_for(self, lanes: int) -> int:
        return max(8, lanes)

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
        self.most = max(self.most, sum(len(tokens) for tokens, _ in asks))
        return super().forward(asks)


def load(model: TinyLM, specs: Sequence[str], request: Request = PROMPT) -> Load:
    rows = engine.rows_of(request, [POLICIES.parse(spec) for spec in specs])
    return load_of(Session(model, request, Resources(no_head)), rows)


@pytest.mark.parametrize(
    ("specs", "rows"),
    [
        (["fixed"], 1),
        (["fixed", "edt", "shuffled:of=1"], 3),
        (["best-of-n:n=5", "fixed"], 6),
        (["long-horizon:particles=7"], 7),
        (["entropy-switch"], 2),
        (["difficulty-router", "power-sampling"], 2),
    ],
)
def test_rows_are_those_of_all_lanes_and_positions_those_of_full_replies(specs: list[str], rows: int) -> None:
    assert load(TinyLM(), specs) == Load(rows, rows * (7 + 10) + 7)


def test_padding_and_second_rows_count() -> None:
    assert load(Padded(), ["fixed"]).rows == 8
    assert load(Padded(), ["fixed", "best-of-n:n=2"]).rows == 16
    assert load(TinyLM(), ["fixed"] * 3, SOURCE).rows == 6


@pytest.mark.parametrize("model", [TinyLM, Padded])
@pytest.mark.parametrize("request_", [PROMPT, SOURCE])
@pytest.mark.parametrize(
    "specs",
    [["fixed", "edt"], ["kl-guided", "fixed"], ["best-of-n:n=3", "long-horizon:particles=2"], ["difficulty-router"]],
)
def test_no_pass_has_more_rows_than_the_load_says(model: Any, request_: Request, specs: list[str]) -> None:
    if "kl-guided" in specs and request_.source is None:
        pytest.skip("it needs a document")

    class Counted(model):  # type: ignore[misc]
        most = 0

        def forward(self, asks: Any) -> Any:
            self.most = max(self.most, max(len(tokens) for tokens, _ in asks))
            return super().forward(asks)

    counted = Counted()
    rows = engine.rows_of(request_, [POLICIES.parse(spec) for spec in specs])
    list(engine.stream(counted, request_, rows, resources()))
    assert 0 < counted.most <= load(model(), specs, request_).rows


def test_loads_add_and_compare_in_both_numbers() -> None:
    assert Load(1, 10) + Load(2, 5) == Load(3, 15)
    assert Load(3, 15).within(Load(3, 15))
    assert not Load(4, 1).within(Load(3, 15))
    assert not Load(1, 16).within(Load(3, 15))
