"""What a step costs beside the model: as many tensor operations for eight lanes as for two, and none that sorts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.adaptive_decoder import AdaptiveDecoder
from models.adaptive_decoder import Head as Trained
from playground.decoding import engine
from playground.decoding.policies.base import Head, Resources
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Request
from tests.tiny_lm import TinyLM, TinyOutput

POLICIES = catalogue({"adaptive-token": "head"})
GRID = (0.3, 0.5, 0.8, 1.2)  # neither greedy nor 1, which take fewer operations


class Stored(TinyLM):
    """Gives the same logits at every step, without an operation of its own."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        noise = torch.Generator().manual_seed(0)
        logits = torch.randn(lanes, 1024, generator=noise) * 3
        self.end_ids, self.vocab_size = frozenset(), 1024
        self.first = TinyOutput(logits[:1], torch.randn(1, 16, generator=noise))
        self.rest = TinyOutput(logits, torch.randn(lanes, 16, generator=noise))

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
        return [self.first if tokens.shape[1] > 1 else self.rest for tokens, _ in asks]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(97 + i % 26) for i in ids)


class Operations(TorchDispatchMode):
    """Counts the tensor operations that run while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.counts[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def head(name: str) -> Head:
    decoder = AdaptiveDecoder(16, len(GRID))
    torch.nn.init.normal_(decoder.last.weight)
    return Head("head@0", "token", GRID, Trained(decoder), (0.25,) * 4)


def operations(spec: str, lanes: int) -> Counter[str]:
    """Those of twenty steps, the first left out."""
    request = Request("x", max_tokens=40)
    rows = engine.rows_of(request, [POLICIES.parse(spec)] * lanes)
    events = engine.stream(Stored(lanes), request, rows, Resources(head))
    for _ in range(8):
        next(events)
    with Operations() as counted:
        for _ in range(20):
            next(events)
    return counted.counts


@pytest.mark.parametrize(
    "spec",
    [
        "fixed:temperature=0.8",
        "fixed:top_k=5,min_p=0.02,eta_cutoff=0.001,top_n_sigma=2",
        "adaptive-token",
        "adaptive-token:select=sample",
        "edt",
        "aldr",
        "mirostat-v2",
        "quadrants",
        "schedule",
    ],
)
def test_no_tensor_operation_is_launched_once_a_lane(spec: str) -> None:
    two, eight = operations(spec, 2), operations(spec, 8)
    assert two == eight
    assert 20 * 30 < sum(two.values()) < 20 * 260
    assert not {"sort", "multinomial", "argsort"} & set(two)


def test_the_nucleus_sorts_candidates_only() -> None:
    found = operations("fixed:top_p=0.9", 2)
    assert found["sort"] + found["argsort"] == 20
    assert operations("fixed:temperature=0.8", 2).total() < operations("fixed:temperature=0.8,top_p=0.9", 2).total()
