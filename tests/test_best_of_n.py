"""Best of n: the likeliest reply by the model's own figures, and nothing shown that could still lose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.language_model import LanguageModel
from playground.decoding.decoders import best_of_n
from playground.decoding.policies import fixed
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from tests.table_lm import MYOPIC, Reply, TableLM, events, markov, row_alone, run, spec, table_of
from tests.tiny_lm import TinyLM

KIND = best_of_n.KIND
REQUEST = Request("Tell me about the sea.", seed=7, max_tokens=16)


def naive(model: TableLM, lane: Any, length: int, n: int, heat: float) -> list[tuple[Reply, float]]:
    """All n candidates with their log-likelihood at T = 1, one after the other in NumPy."""
    points = torch.rand(length, n, dtype=torch.float64, generator=lane.stream("token")).numpy()
    candidates = []
    for i in range(n):
        ids: list[int] = []
        total = 0.0
        while len(ids) < length and not model.end_ids & set(ids):
            h = model.next_logits(tuple(ids)).numpy()
            p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (h, h / heat))
            ids.append(int(np.nonzero(np.cumsum(q) > points[len(ids), i] * q.sum())[0][0]))
            total += float(np.log(p[ids[-1]]))
        candidates.append((tuple(ids), total))
    return candidates


@pytest.mark.parametrize("by", ["sum", "mean"])
def test_equals_the_naive_choice_on_captured_logits(captured_logits: np.ndarray, by: str) -> None:
    model, policy = table_of(captured_logits), spec(KIND, f"n=3,temperature=0.9,by={by}")
    for seed in range(2):
        request = Request("x", seed=seed, max_tokens=8)
        (trace,) = run(model, [policy], request)
        candidates = naive(model, row_alone(policy, request), 8, 3, 0.9)
        ids, total = max(candidates, key=lambda c: c[1])
        assert trace.token_ids == ids
        assert sum(step.logprob for step in trace.steps) == pytest.approx(total, abs=1e-4)
        alike = [sum(other[: t + 1] == ids[: t + 1] for other, _ in candidates) / 3 for t in range(len(ids))]
        assert [step.channel["agreement"] for step in trace.steps] == pytest.approx(alike)


@pytest.mark.parametrize("by", ["sum", "mean"])
def test_equals_the_naive_choice_where_replies_end_at_different_lengths(by: str) -> None:
    model, policy, lengths = markov(), spec(KIND, f"n=4,by={by}"), []
    for seed in range(60):
        request = Request("x", seed=seed, max_tokens=8)
        (trace,) = run(model, [policy], request)
        candidates = naive(model, row_alone(policy, request), 8, 4, 1.0)
        scores = [total / (len(ids) if by == "mean" else 1) for ids, total in candidates]
        found = scores[[ids for ids, _ in candidates].index(trace.token_ids)]
        assert found == pytest.approx(max(scores), abs=1e-12)
        lengths.append(len(trace.steps))
    assert len(set(lengths)) > 3


def test_the_sum_prefers_short_replies_and_the_mean_does_not() -> None:
    def mean_length(by: str) -> float:
        traces = [run(markov(), [spec(KIND, f"by={by}")], Request("x", seed=s, max_tokens=8))[0] for s in range(60)]
        return float(np.mean([len(trace.steps) for trace in traces]))

    assert mean_length("sum") < mean_length("mean")


@pytest.mark.parametrize("by", ["sum", "mean"])
def test_shows_only_what_every_candidate_that_can_win_shares(by: str) -> None:
    """`run` asserts that nothing shown is taken back; here: something is shown early, and no later than it could be."""
    early = 0
    for seed in range(30):
        request = Request("x", seed=seed, max_tokens=8)
        seen = [e for e in events(markov(), [spec(KIND, f"n=3,by={by}")], request) if isinstance(e, tuple)]
        early += sum(map(len, seen[:-1]))
        shown = [step.step.token_id for event in seen for step in event]
        assert run(markov(), [spec(KIND, f"n=3,by={by}")], request)[0].token_ids == tuple(shown)
    assert early > 10


def test_stops_as_soon_as_no_other_candidate_can_win() -> None:
    """The first candidate to end here is the likeliest there can be, so the others are not drawn to their ends."""
    table = {None: (0.4, 0.3, 0.3), 0: (0.5, 0.49, 0.01), 1: (0.5, 0.49, 0.01)}
    spent = []
    for seed in range(20):
        model = TableLM(lambda r: torch.tensor(table.get(r[-1] if r else None, (1, 1, 1.0))).log(), 3, frozenset({2}))
        (trace,) = run(model, [spec(KIND, "n=6")], Request("x", seed=seed, max_tokens=200))
        spent.append((len(trace.steps), model.forwards))
    assert any(length == 1 and 0 < forwards < 10 for length, forwards in spent)


def test_one_candidate_is_the_model_at_this_temperature(tiny: TinyLM) -> None:
    request = replace(REQUEST, noise="shared")
    for heat in (0, 0.7, 1.0):
        one, plain = run(
            tiny, [spec(KIND, f"n=1,temperature={heat}"), parse(f"fixed:temperature={heat}", [fixed.KIND])], request
        )
        assert one.token_ids == plain.token_ids
        assert [s.logprob for s in one.steps] == [s.logprob for s in plain.steps]


def test_the_embedded_model_draws_the_same_alone_and_in_company(embedded_model: LanguageModel) -> None:
    request = replace(REQUEST, max_tokens=11)
    policy = spec(KIND, "n=4,temperature=0.9,top_k=40,by=mean")
    (alone,) = run(embedded_model, [policy], request)
    beside, again = run(embedded_model, [parse("fixed:temperature=0.7", [fixed.KIND]), policy], request)
    assert again.id == alone.id != beside.id
    assert alone.order == ("temperature", "top_k")
    assert "".join(step.text for step in alone.steps) == alone.text == embedded_model.decode(alone.token_ids)
    assert all(step.channel["agreement"] in (0.25, 0.5, 0.75, 1.0) for step in alone.steps)
    assert {step.temperature for step in alone.steps} == {0.9}


def test_stop_strings_and_the_length_end_candidates_too(tiny: TinyLM) -> None:
    stops = set()
    for seed in range(12):
        request = replace(REQUEST, seed=seed, max_tokens=12, stop=("e", "B", "*"))
        (trace,) = run(tiny, [spec(KIND, "n=2,by=mean")], request)
        stops.add(trace.stop)
        assert not any(stop in trace.text[:-1] for stop in request.stop)
        assert (trace.stop == "stop_string") == trace.text.endswith(request.stop)
    assert {"stop_string", "length"} <= stops


def test_closing_stops_the_work_within_one_forward_pass() -> None:
    endless = dict.fromkeys(MYOPIC, (0.5, 0.5, 0.0))
    model = TableLM(lambda r: torch.tensor(endless[r[-1] if r else None]).log(), 3, frozenset({2}))
    running = events(model, [spec(KIND)], Request("x", max_tokens=50))
    for passes in range(4):
        next(running)
        assert model.forwards <= passes
    running.close()  # type: ignore[attr-defined]
    assert model.forwards <= 3


@pytest.mark.parametrize("text", ["n=0", "n=17", "by=votes", "temperature=-1", "particles=4"])
def test_what_makes_no_sense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(PlaygroundError, match=r"must be|has no key"):
        parse(f"best-of-n:{text}", [KIND])
