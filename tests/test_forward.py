"""Forward passes: merged where the model merges, one by one where it does not, and a failure stays with who asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from playground.decoding.forward import Forward, answers, feed, outcomes, read
from tests.tiny_lm import TinyLM, TinyOutput


class Counting(TinyLM):
    """Keeps how many asked in every pass; asks of `refused` rows fail before any cache has changed."""

    def __init__(self, merges: bool, refused: int = -1, seed: int = 0) -> None:
        super().__init__(seed)
        self.merges, self.refused, self.asked = merges, refused, list[int]()  # type: ignore[misc]

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> list[TinyOutput]:
        self.asked.append(len(asks))
        if any(len(tokens) == self.refused for tokens, _ in asks):
            raise ValueError("refused")
        return super().forward(asks)


def asks(*models: TinyLM) -> list[Forward]:
    """One ask a model: k rows and one token for the k-th, from 1."""
    return [Forward(m, torch.full((k, 1), k), m.expand(m.begin([1])[0], k)) for k, m in enumerate(models, 1)]


@pytest.mark.parametrize(("merges", "passes"), [(True, [3]), (False, [1, 1, 1])])
def test_one_pass_a_model_where_it_merges_and_answers_in_the_order_asked(merges: bool, passes: list[int]) -> None:
    model, other = Counting(merges), Counting(merges, seed=1)
    found = answers(asks(model, other, model, model))
    assert (model.asked, other.asked) == (passes, [1])
    for output, ask in zip(found, asks(model, other, model, model), strict=True):
        assert isinstance(ask.model, TinyLM)
        assert torch.equal(output.logits, TinyLM.forward(ask.model, [(ask.tokens, ask.cache)])[0].logits)


@pytest.mark.parametrize("merges", [True, False])
def test_a_pass_that_fails_fails_for_who_asked_alone(merges: bool) -> None:
    model = Counting(merges, refused=2)
    found = outcomes(asks(model, model, model))
    assert [type(outcome) for outcome in found] == [TinyOutput, ValueError, TinyOutput]
    for outcome, output in zip(found[::2], answers(asks(TinyLM(), TinyLM(), TinyLM()))[::2], strict=True):
        assert isinstance(outcome, TinyOutput)
        assert torch.equal(outcome.logits, output.logits)
    with pytest.raises(ValueError, match="refused"):
        answers(asks(model, model))


def test_nothing_asked_is_nothing_answered() -> None:
    assert answers([]) == []


def test_a_prompt_is_read_piece_by_piece_to_what_one_pass_reads() -> None:
    model = TinyLM()
    model.piece = 2
    reading, fed, output = read(model, [5, 6, 7, 8, 9]), list[list[int]](), None
    while True:
        try:
            ask = reading.send(output)
        except StopIteration as end:
            last, cache = end.value
            break
        assert isinstance(ask, Forward)
        fed += ask.tokens.tolist()
        (output,) = answers([ask])
    whole, expected = TinyLM().prefill([5, 6, 7, 8, 9])
    assert fed == [[5, 6], [7, 8], [9]]
    assert torch.equal(last.logits, whole.logits)
    assert torch.equal(cache[0], expected[0])


def test_a_forward_that_is_not_answered_is_noticed() -> None:
    model = TinyLM()
    feeding = feed(model, torch.tensor([[1]]), model.begin([1])[0])
    next(feeding)
    with pytest.raises(AssertionError):
        feeding.send(None)
