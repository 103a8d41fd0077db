"""Power sampling: its stationary distribution, the chain NumPy walks too, and a work that can be stopped anywhere."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.language_model import LanguageModel
from playground.decoding.decoders import power_sampling
from playground.decoding.policies import fixed
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Request, Trace
from playground.errors import PlaygroundError
from tests.table_lm import (
    Reply,
    TableLM,
    chi_square,
    distance,
    events,
    joint,
    markov,
    replies,
    row_alone,
    run,
    spec,
    table_of,
)
from tests.tiny_lm import TinyLM

KIND = power_sampling.KIND
LENGTH, T = 4, 0.4
REQUEST = Request("Tell me about the sea.", seed=7, max_tokens=8)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["base", "tempered"])
def test_the_chain_ends_in_the_power_of_the_joint(proposal: str) -> None:
    """Replies of many lengths, so the ratio of lengths counts. Without moves the reply is the proposal's, and far off."""
    text, target = f"temperature={T},block=4,proposal={proposal}", joint(LENGTH, T)
    none = replies(markov(), spec(KIND, f"{text},moves=0"), LENGTH, 200)
    few = replies(markov(), spec(KIND, f"{text},moves=1"), LENGTH, 200)
    many = replies(markov(), spec(KIND, f"{text},moves=14"), LENGTH, 300)
    assert chi_square(many, target) > 1e-4
    assert chi_square(none, target) < 1e-20
    assert distance(none, target) > distance(few, target) > distance(many, target)


def test_temperature_one_accepts_every_move_of_replies_of_one_length() -> None:
    endless = TableLM(lambda reply: torch.tensor([0.0, 0.5, 1.0 + len(reply)], dtype=torch.float64), 3)
    (trace,) = run(endless, [spec(KIND, "temperature=1,moves=6,block=5")], Request("x", max_tokens=10))
    assert {step.channel["acceptance"] for step in trace.steps} == {1.0}
    assert trace.steps[4].channel["rewritten"] >= 1.0


class Naive:
    """The method over again in NumPy with plain loops, from the same two streams."""

    def __init__(self, model: TableLM, lane: Any, heat: float, drawn_at: float) -> None:
        self.model, self.heat, self.drawn_at = model, heat, drawn_at
        self.noise, self.chance = lane.stream("token"), lane.stream("temperature")

    def draw(self, stream: torch.Generator) -> float:
        return float(torch.rand(1, dtype=torch.float64, generator=stream))

    def logs(self, reply: Reply) -> tuple[np.ndarray, np.ndarray]:
        h = self.model.next_logits(reply).numpy()
        p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (h, h / self.drawn_at))
        return np.log(p), np.log(q)

    def grow(self, reply: Reply, limit: int) -> Reply:
        while len(reply) < limit and not self.model.end_ids & set(reply):
            q = np.exp(self.logs(reply)[1])
            reply = (*reply, int(np.nonzero(np.cumsum(q) > self.draw(self.noise) * q.sum())[0][0]))
        return reply

    def weight(self, reply: Reply) -> float:
        """α·ln p − ln q of the whole reply; what two replies share cancels."""
        logs = [self.logs(reply[:t]) for t in range(len(reply))]
        return sum(p[token] / self.heat - q[token] for token, (p, q) in zip(reply, logs, strict=True))

    def run(self, length: int, block: int, moves: int) -> tuple[Reply, float]:
        reply: Reply = ()
        accepted = []
        for limit in range(block, length + 1, block):
            reply = self.grow(reply, limit)
            for _ in range(moves):
                cut = int(self.draw(self.chance) * len(reply))
                other = self.grow(reply[:cut], limit)
                odds = math.exp(self.weight(other) - self.weight(reply)) * len(reply) / len(other)
                accepted.append(self.draw(self.chance) < odds)
                reply = other if accepted[-1] else reply
        return reply, float(np.mean(accepted))


@pytest.mark.parametrize(("proposal", "drawn_at"), [("base", 1.0), ("tempered", 0.5)])
def test_equals_the_naive_chain_on_captured_logits(captured_logits: np.ndarray, proposal: str, drawn_at: float) -> None:
    policy, model = spec(KIND, f"temperature=0.5,moves=3,block=3,proposal={proposal}"), table_of(captured_logits)
    request = replace(REQUEST, max_tokens=6)
    (trace,) = run(model, [policy], request)
    found, accepted = Naive(model, row_alone(policy, request), 0.5, drawn_at).run(6, 3, 3)
    assert trace.token_ids == found
    assert [step.channel["acceptance"] for step in trace.steps] == pytest.approx([accepted] * 6, abs=1e-6)
    assert {step.temperature for step in trace.steps} == {drawn_at}


def test_equals_the_naive_chain_where_replies_end_at_different_lengths() -> None:
    policy, lengths = spec(KIND, "temperature=0.5,moves=4,block=2"), set()
    for seed in range(40):
        request = Request("x", seed=seed, max_tokens=6)
        (trace,) = run(markov(), [policy], request)
        found, accepted = Naive(markov(), row_alone(policy, request), 0.5, 0.5).run(6, 2, 4)
        assert trace.token_ids == found
        assert trace.steps[0].channel["acceptance"] == pytest.approx(accepted, abs=1e-6)
        lengths.add(len(found))
    assert len(lengths) > 2


def test_recorded_figures_belong_to_the_reply_that_is_left(tiny: TinyLM) -> None:
    (trace,) = run(tiny, [spec(KIND, "temperature=0.5,block=8")], replace(REQUEST, max_tokens=24))
    scored = torch.log_softmax(tiny.score(trace.prompt_ids, trace.token_ids).double(), -1)
    for position, (step, row) in enumerate(zip(trace.steps, scored, strict=True)):
        assert step.position == position
        assert step.logprob == pytest.approx(float(row[step.token_id]), abs=1e-5)
        assert set(step.channel) == {"acceptance", "rewritten"}
    assert "moves were accepted" in power_sampling.note({}, trace.steps)


def test_the_embedded_model_draws_the_same_alone_and_in_company(embedded_model: LanguageModel) -> None:
    policy = spec(KIND, "block=4,moves=2,top_p=0.95")
    (alone,) = run(embedded_model, [policy], REQUEST)
    beside, again = run(embedded_model, [parse("fixed:temperature=0.7", [fixed.KIND]), policy], REQUEST)
    assert again.id == alone.id != beside.id
    assert alone.order == ("temperature", "top_p")
    assert Trace.from_record(alone.to_record()) == alone
    assert "".join(step.text for step in alone.steps) == alone.text == embedded_model.decode(alone.token_ids)
    scored = torch.log_softmax(embedded_model.score(alone.prompt_ids, alone.token_ids).double(), -1)
    for step, row in zip(alone.steps, scored, strict=True):
        assert step.logprob == pytest.approx(float(row[step.token_id]), abs=1e-3)


def test_stop_strings_and_the_length_end_replies(tiny: TinyLM) -> None:
    stops = set()
    for seed in range(12):
        request = replace(REQUEST, seed=seed, max_tokens=12, stop=("e", "B", "*"))
        (trace,) = run(tiny, [spec(KIND, "temperature=0.8,block=5")], request)
        stops.add(trace.stop)
        assert not any(stop in trace.text[:-1] for stop in request.stop)
        assert (trace.stop == "stop_string") == trace.text.endswith(request.stop)
        assert trace.stop != "length" or len(trace.steps) == 12
    assert {"stop_string", "length"} <= stops


def test_shows_nothing_before_the_end_and_stops_within_one_forward_pass() -> None:
    assert not KIND.streams
    model = TableLM(lambda reply: torch.zeros(3, dtype=torch.float64), 3)
    running = events(model, [spec(KIND, "block=4")], Request("x", max_tokens=20))
    next(running)
    for passes in range(1, 30):
        assert next(running) == ()
        assert model.forwards <= passes
    running.close()  # type: ignore[attr-defined]
    assert model.forwards <= 29


@pytest.mark.parametrize("text", ["temperature=0", "moves=-1", "block=0", "proposal=greedy", "alpha=4"])
def test_what_makes_no_sense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(PlaygroundError, match=r"must be|has no key"):
        parse(f"power-sampling:{text}", [KIND])
