"""Long horizon: whole replies distributed as p^(1/T), figures that NumPy finds too, and a stream that is never taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.language_model import LanguageModel
from playground.decoding.decoders import best_of_n, long_horizon
from playground.decoding.policies import fixed
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Request, Trace
from playground.errors import PlaygroundError
from tests.table_lm import (
    MYOPIC,
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

KIND = long_horizon.KIND
LENGTH, T = 4, 0.4
REQUEST = Request("Tell me about the sea.", seed=7, max_tokens=20)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["base", "tempered"])
def test_replies_of_many_particles_are_distributed_as_the_power_of_the_joint(proposal: str) -> None:
    """And those of few are nearer to it the more there are; one alone, which is the proposal, is far from it."""
    text, target = f"temperature={T},block=2,proposal={proposal}", joint(LENGTH, T)
    one, two, many = (replies(markov(), spec(KIND, text, particles=n), LENGTH, 250) for n in (1, 2, 24))
    assert chi_square(many, target) > 1e-4
    assert chi_square(one, target) < 1e-20
    assert distance(one, target) > distance(two, target) > distance(many, target)


def test_with_filters_the_target_is_the_power_over_what_they_leave() -> None:
    """top_k=2 forbids the end after `a`, and `a` after `b`: what is left is weighed by the model's own p."""
    left = {None: (0, 1), 0: (0, 1), 1: (1, 2)}
    kept = {
        reply: mass
        for reply, mass in joint(LENGTH, T).items()
        if all(now in left[before] for before, now in zip((None, *reply), reply, strict=False))
    }
    target = {reply: mass / sum(kept.values()) for reply, mass in kept.items()}
    found = replies(markov(), spec(KIND, f"temperature={T},block=2,top_k=2", particles=24), LENGTH, 250)
    assert chi_square(found, target) > 1e-4
    assert sum(kept.values()) < 0.8, "the filter takes something away"


@pytest.mark.parametrize("particles", [1, 4])
def test_temperature_one_leaves_the_model_as_it_is(particles: int) -> None:
    found = replies(markov(), spec(KIND, f"temperature=1,particles={particles},block=2"), LENGTH, 400)
    assert chi_square(found, joint(LENGTH, 1.0)) > 1e-4
    for proposal in ("base", "tempered"):
        (trace,) = run(TinyLM(), [spec(KIND, f"temperature=1,particles={particles},proposal={proposal}")], REQUEST)
        assert {step.channel["ess"] for step in trace.steps} == {float(particles)}
        assert max(abs(step.channel["log_weight"]) for step in trace.steps) < 1e-12


def naive(logits: Any, lane: Any, length: int, n: int, block: int, t: float, drawn_at: float) -> dict[str, Any]:
    """The whole method over again in NumPy: one particle after the other, plain loops. Replies do not end here."""
    noise, resampling = lane.stream("token"), lane.stream("temperature")
    ids: list[list[int]] = [[] for _ in range(n)]
    gains: list[list[float]] = [[] for _ in range(n)]
    sizes: list[list[float]] = [[] for _ in range(n)]
    weights = [0.0] * n
    for position in range(length):
        points = torch.rand(n, dtype=torch.float64, generator=noise).numpy()
        for i in range(n):
            h = logits(tuple(ids[i])).numpy()
            p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (h, h / drawn_at))
            token = int(np.nonzero(np.cumsum(q) > points[i] * q.sum())[0][0])
            gains[i] = [*gains[i], np.log(p[token]) / t - np.log(q[token])]
            ids[i] = [*ids[i], token]
            weights[i] += gains[i][-1]
        if (position + 1) % block and position + 1 < length:
            continue
        w = np.exp(np.array(weights) - max(weights))
        w /= w.sum()
        u = float(torch.rand(1, dtype=torch.float64, generator=resampling))
        places = [u] if position + 1 == length else [(i + u) / n for i in range(n)]
        chosen = [next(i for i in range(n) if w[: i + 1].sum() > place) for place in places]
        sizes = [sizes[i] + [1 / (w**2).sum()] * (len(ids[i]) - len(sizes[i])) for i in chosen]
        ids, gains, weights = [ids[i] for i in chosen], [gains[i] for i in chosen], [0.0] * n
    return {"ids": ids[0], "log_weight": gains[0], "ess": sizes[0]}


@pytest.mark.parametrize(("proposal", "drawn_at"), [("base", 1.0), ("tempered", 0.6)])
def test_equals_the_naive_method_on_captured_logits(
    captured_logits: np.ndarray, proposal: str, drawn_at: float
) -> None:
    model = table_of(captured_logits)
    policy, request = (
        spec(KIND, f"temperature=0.6,particles=3,block=4,proposal={proposal}"),
        Request("x", max_tokens=10),
    )
    for seed in range(3):
        asked = replace(request, seed=seed)
        (trace,) = run(model, [policy], asked)
        found = naive(model.next_logits, row_alone(policy, asked), 10, 3, 4, 0.6, drawn_at)
        assert list(trace.token_ids) == found["ids"]
        for name in ("ess", "log_weight"):
            assert [step.channel[name] for step in trace.steps] == pytest.approx(found[name], abs=1e-4)
        assert {step.temperature for step in trace.steps} == {drawn_at}
        gained = [step.logprob / 0.6 - step.logprob_drawn for step in trace.steps]
        assert gained == pytest.approx(found["log_weight"], abs=1e-4)


def test_the_embedded_model_draws_the_same_alone_and_in_company(embedded_model: LanguageModel) -> None:
    request = replace(REQUEST, max_tokens=11)
    policy = spec(KIND, "block=5,top_p=0.95")
    (alone,) = run(embedded_model, [policy], request)
    beside, again = run(embedded_model, [parse("fixed:temperature=0.7", [fixed.KIND]), policy], request)
    assert again.id == alone.id != beside.id
    assert alone.order == ("temperature", "top_p")
    assert Trace.from_record(alone.to_record()) == alone
    assert "".join(step.text for step in alone.steps) == alone.text == embedded_model.decode(alone.token_ids)
    ids = torch.tensor(alone.token_ids)
    scored = torch.log_softmax(embedded_model.score(alone.prompt_ids, alone.token_ids).double(), -1)
    logprobs = scored.gather(-1, ids[:, None])[:, 0]
    assert [step.logprob for step in alone.steps] == pytest.approx(logprobs.tolist(), abs=1e-3), "caches follow"
    assert all(1.0 - 1e-6 <= step.channel["ess"] <= 4.0 + 1e-6 for step in alone.steps)


def test_recorded_figures_belong_to_the_reply_that_is_left(tiny: TinyLM) -> None:
    for seed in range(5):
        (trace,) = run(tiny, [spec(KIND, "temperature=0.5,block=3")], replace(REQUEST, seed=seed, max_tokens=40))
        scored = torch.log_softmax(tiny.score(trace.prompt_ids, trace.token_ids).double(), -1)
        for step, row in zip(trace.steps, scored, strict=True):
            assert step.logprob == pytest.approx(float(row[step.token_id]), abs=1e-5)
            assert step.entropy == pytest.approx(-float((row.exp() * row).sum()), abs=1e-4)
        assert [step.position for step in trace.steps] == list(range(len(trace.steps)))


def test_streams_what_all_particles_share_block_by_block() -> None:
    model, early = TinyLM(end_bias=-99.0), 0
    for seed in range(6):
        request = replace(REQUEST, seed=seed, max_tokens=60)
        seen = [e for e in events(model, [spec(KIND, "temperature=0.4,block=5")], request) if isinstance(e, tuple)]
        assert len(seen) == 60, "one event a forward pass"
        assert all(not steps for number, steps in enumerate(seen, 1) if number % 5)
        early += sum(map(len, seen[:-1]))
    assert early > 60


def test_stop_strings_and_the_length_end_particles_too(tiny: TinyLM) -> None:
    stops = set()
    for seed in range(12):
        request = replace(REQUEST, seed=seed, max_tokens=12, stop=("e", "B", "*"))
        (trace,) = run(tiny, [spec(KIND, "block=3")], request)
        stops.add(trace.stop)
        assert not any(stop in trace.text[:-1] for stop in request.stop)
        assert (trace.stop == "stop_string") == trace.text.endswith(request.stop)
        assert trace.stop != "length" or len(trace.steps) == 12
    assert {"stop_string", "length"} <= stops


def test_particles_read_their_own_text_where_characters_have_two_bytes() -> None:
    """Only 0xC3, which begins a character, and two bytes that end one: è and é, and halves of them."""
    model, stopped = TinyLM(sharpness=1.0), 0
    model.bias[:] = -99.0
    model.bias[[0xC3, 0xA8, 0xA9]] = torch.tensor([1.0, 1.0, 0.0])
    for seed in range(12):
        request = replace(REQUEST, seed=seed, stop=("é",), max_tokens=40)
        (trace,) = run(model, [spec(KIND, "block=2,particles=6")], request)
        assert "".join(step.text for step in trace.steps) == trace.text == model.decode(trace.token_ids)
        assert (trace.stop == "stop_string") == ("é" in trace.text)
        assert "é" not in "".join(step.text for step in trace.steps[:-1]), "it ends where the character is complete"
        stopped += trace.stop == "stop_string"
    assert stopped > 6


def test_a_reply_that_ended_waits_with_the_weight_it_has() -> None:
    """After `a` the reply ends at once, after `b` it goes on for sure: both weigh by their first token alone."""
    table = {None: (0.5, 0.5, 0.0), 0: (0.0, 0.0, 1.0), 1: (0.0, 1.0, 0.0)}
    model = TableLM(
        lambda r: torch.tensor(table[r[-1] if r else None] if 2 not in r else (1, 1, 1.0)).log(), 3, frozenset({2})
    )
    found = replies(model, spec(KIND, "temperature=0.3,block=2", particles=8), 6, 60)
    assert set(found) == {(0, 2), (1,) * 6}
    assert 15 < found[(0, 2)] < 45


def test_closing_stops_the_work_within_one_forward_pass() -> None:
    model = markov()
    running = events(model, [spec(KIND)], Request("x", max_tokens=50))
    for passes in range(4):
        next(running)
        assert model.forwards <= passes
    running.close()  # type: ignore[attr-defined]
    assert model.forwards <= 3


def test_costs_as_many_rows_as_best_of_n() -> None:
    endless = dict.fromkeys(MYOPIC, (0.5, 0.5, 0.0))
    costs = []
    for policy in (spec(KIND, "particles=4"), spec(best_of_n.KIND, "n=4")):
        model = TableLM(lambda r: torch.tensor(endless[r[-1] if r else None]).log(), 3, frozenset({2}))
        (trace,) = run(model, [policy], Request("x", max_tokens=16))
        costs.append((len(trace.steps), model.forwards, model.rows))
    assert costs == [(16, 15, 15 * 5)] * 2


def test_the_note_tells_what_the_particles_were_worth(tiny: TinyLM) -> None:
    (trace,) = run(tiny, [spec(KIND)], REQUEST)
    sizes = [step.channel["ess"] for step in trace.steps]
    values = spec(KIND).values
    words = long_horizon.note(values, trace.steps)
    assert f"{np.mean(sizes):.1f} on average and {min(sizes):.1f} at least" in words
    assert long_horizon.note(values, ()) == ""


@pytest.mark.parametrize(
    ("keys", "said"),
    [("", True), ("particles=1", True), ("temperature=1", False), ("proposal=tempered", False)],
)
def test_the_note_says_where_tokens_are_drawn_at_another_temperature(tiny: TinyLM, keys: str, said: bool) -> None:
    policy = spec(KIND, keys) if keys else spec(KIND)
    (trace,) = run(tiny, [policy], REQUEST)
    differs = trace.steps[0].temperature != pytest.approx(float(policy.values["temperature"]))
    words = long_horizon.note(policy.values, trace.steps)
    assert differs == said == ("drawn at temperature 1" in words)
    assert not said or trace.steps[0].temperature == 1


@pytest.mark.parametrize("text", ["temperature=0", "particles=0", "particles=17", "block=0", "proposal=greedy", "n=4"])
def test_what_makes_no_sense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(PlaygroundError, match=r"must be|has no key"):
        parse(f"long-horizon:{text}", [KIND])
