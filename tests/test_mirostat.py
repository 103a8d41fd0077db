"""Mirostat: both versions step by step against NumPy, surprise in bits, and a mean that meets its target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import pytest
import torch

from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies import fixed, mirostat
from playground.decoding.policies.base import Drawn, Head, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request, Trace
from tests.tiny_lm import TinyLM

KINDS = (fixed.KIND, mirostat.V1, mirostat.V2)
ASKED = Request("Tell me about the sea.", seed=3, max_tokens=300)


def no_head(name: str) -> Head:
    raise AssertionError("the formula reads no head")


def policy(*specs: str) -> tuple[mirostat.Mirostat, State]:
    rows = tuple(Row(parse(spec, KINDS)) for spec in specs)
    built = rows[0].spec.kind.build
    assert built is not None
    made = built(rows, Resources(no_head))
    assert isinstance(made, mirostat.Mirostat)
    return made, State(rows)


def run(model: TinyLM, specs: Sequence[str], request: Request = ASKED) -> tuple[Trace, ...]:
    rows = engine.rows_of(request, [parse(spec, KINDS) for spec in specs])
    (*_, end) = engine.stream(model, request, rows, Resources(no_head))
    assert isinstance(end, Finished)
    return end.traces


def endless() -> TinyLM:
    """A model of many open choices that never ends: mean entropy above 3 bits at T = 1."""
    return TinyLM(seed=5, end_bias=-99.0, sharpness=1.5)


def zipf_k(p: np.ndarray, mu: float) -> int:
    """k of version 1 as the formulas say, one rank at a time."""
    ordered = sorted(p, reverse=True)
    above, below = 0.0, 0.0
    for i in range(1, 100):
        t, b = math.log((i + 1) / i), math.log(ordered[i - 1] / ordered[i])
        above, below = above + t * b, below + t * t
    s = above / below
    epsilon = s - 1
    k = (epsilon * 2**mu / (1 - len(p) ** -epsilon)) ** (1 / s)
    return max(1, min(len(p), round(k)))


@pytest.mark.parametrize(("tau", "eta"), [(3.0, 1.0), (2.0, 0.5), (5.0, 0.2)])
@pytest.mark.parametrize("version", [1, 2])
def test_equals_numpy_on_captured_logits(captured_logits: np.ndarray, version: int, tau: float, eta: float) -> None:
    ours, state = policy(f"mirostat-v{version}:tau_bits={tau},eta={eta}")
    draw = np.random.default_rng(0)
    mu, surprises, entropies, kept = 2 * tau, [], [], []
    for state.position, logits in enumerate(captured_logits):
        p = np.exp(logits - logits.max())
        p /= p.sum()
        mu = min(mu, math.log2(len(p)))
        if version == 1:
            keep = p >= np.sort(p)[::-1][zipf_k(p, mu) - 1]
        else:
            keep = -np.log2(p) <= mu
            keep[p.argmax()] = True
        decision = ours.decide(Distribution(torch.tensor(logits)[None]), torch.zeros(1, 1), state)
        assert decision.keep is not None
        assert decision.keep[0].numpy().tolist() == keep.tolist()
        assert float(decision.temperature) == 1.0
        q = p * keep / (p * keep).sum()
        token = int(draw.choice(len(p), p=q))
        surprises.append(-math.log2(p[token] if version == 1 else q[token]))
        entropies.append(-float((p * np.log2(p)).sum()))
        kept.append(int(keep.sum()))
        drawn = Drawn(*(torch.tensor([x]) for x in (token, math.log(p[token]), math.log(q[token]))))
        seen = {**decision.channel, **ours.observe(drawn, state)}
        expected = {
            "mu": mu,
            "reachable_bits": fmean(entropies),
            "surprise_bits": surprises[-1],
            "mean_surprise_bits": fmean(surprises),
        }
        assert {name: float(value) for name, value in seen.items()} == pytest.approx(expected, abs=1e-4)
        mu -= eta * (surprises[-1] - tau)
    assert len(set(kept)) >= 3


def test_zipfs_exponent_is_found_and_the_limit_at_one_joins_its_neighbours() -> None:
    ranks = torch.arange(1, 100_001, dtype=torch.float64)
    for exponent in (0.7, 1.0, 1.6):
        best = torch.log_softmax(-exponent * ranks.log(), -1)[None, :100]
        assert float(mirostat.zipf_exponent(best)) == pytest.approx(exponent, abs=1e-9)
    mu = torch.tensor([10.0], dtype=torch.float64)
    around = [mirostat.truncation(torch.tensor([1 + d]).double(), mu, [50_000]) for d in (-1e-7, 0.0, 1e-12, 1e-7)]
    assert {int(k) for k in around} == {round(2**10 / math.log(50_000))}


def test_extremes_keep_from_one_token_to_all() -> None:
    flat, peaked = torch.zeros(1, 300).double(), torch.tensor([[900.0] + [0.0] * 299]).double()
    ruled_out = torch.tensor([[0.0, -0.5, 1.0] + [-math.inf] * 297]).double()
    for spec in ("mirostat-v1", "mirostat-v2"):
        for logits in (flat, peaked, ruled_out, torch.randn(1, 5).double()):
            for mu in (-5000.0, -1.0, 0.0, 1e-9, 3.0, 40.0):
                ours, state = policy(spec)
                ours._mu = torch.tensor([mu], dtype=torch.float64)
                keep = ours.decide(Distribution(logits), torch.zeros(1, 1), state).keep
                assert keep is not None
                assert keep[0, int(logits.argmax())]
                if mu <= 0 and logits is not flat:  # equal tokens stay together
                    assert int(keep.sum()) == 1
    ours, state = policy("mirostat-v2:tau_bits=20")
    keep = ours.decide(Distribution(flat), torch.zeros(1, 1), state).keep
    assert keep is not None
    assert bool(keep.all())


def drawn(logprob: float, rows: int = 1) -> Drawn:
    return Drawn(torch.zeros(rows, dtype=torch.long), *(torch.full((2, rows), logprob, dtype=torch.float64)))


def test_mu_never_winds_up_beyond_the_vocabulary() -> None:
    ours, state = policy("mirostat-v2:eta=0.5")
    logits = torch.randn(1, 1024, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for state.position in range(100):  # a loop: every token is certain
        decision = ours.decide(Distribution(logits), torch.zeros(1, 1), state)
        ours.observe(drawn(0.0), state)
    assert float(decision.channel["mu"]) == 10.0
    ours.observe(drawn(-16 * math.log(2)), state)
    assert float(ours.decide(Distribution(logits), torch.zeros(1, 1), state).channel["mu"]) == 10.0 - 0.5 * (16 - 3)


def test_rows_have_their_own_target_and_state() -> None:
    ours, state = policy("mirostat-v2:tau_bits=2,eta=0.1", "mirostat-v2:tau_bits=4,eta=0.5")
    logits = torch.randn(1, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).expand(2, -1)
    assert ours.decide(Distribution(logits), torch.zeros(2, 1), state).channel["mu"].tolist() == [4.0, 8.0]
    ours.observe(Drawn(torch.zeros(2).long(), *(-math.log(2) * torch.tensor([[1.0, 6.0]] * 2).double())), state)
    assert ours.decide(Distribution(logits), torch.zeros(2, 1), state).channel["mu"].tolist() == pytest.approx(
        [4.1, 7.0]
    )


@pytest.mark.parametrize("version", [1, 2])
def test_traces_hold_the_distribution_that_was_drawn_from(version: int) -> None:
    model = endless()
    (trace,) = run(model, [f"mirostat-v{version}:tau_bits=2"], Request("Hello.", max_tokens=40))
    assert trace.order == ("mirostat", "temperature")
    ids = list(trace.prompt_ids)
    for step in trace.steps:
        p = torch.softmax(model.prefill(ids)[0].logits[0].double(), -1).numpy()
        mu = step.channel["mu"]
        keep = -np.log2(p) <= mu + 1e-9 if version == 2 else p >= np.sort(p)[::-1][zipf_k(p, mu) - 1]
        keep[p.argmax()] = True
        q = p * keep / (p * keep).sum()
        assert keep[step.token_id]
        assert step.logprob_drawn == pytest.approx(math.log(q[step.token_id]), abs=1e-5)
        fed_back = q if version == 2 else p
        assert step.channel["surprise_bits"] == pytest.approx(-math.log2(fed_back[step.token_id]), abs=1e-5)
        ids.append(step.token_id)


@pytest.mark.parametrize(
    ("version", "target", "sharpness"), [(1, 2, 4.0), (1, 3, 3.0), (2, 2, 1.5), (2, 3, 1.5), (2, 2, 4.0)]
)
def test_the_mean_surprise_meets_the_target_within_five_per_cent(version: int, target: int, sharpness: float) -> None:
    model = TinyLM(seed=5, end_bias=-99.0, sharpness=sharpness)
    request = Request("Hello.", seed=3, max_tokens=400)
    steered, free = run(model, [f"mirostat-v{version}:tau_bits={target}", "fixed"], request)
    assert fmean(step.entropy for step in free.steps) / math.log(2) > 1.15 * target
    mean = fmean(step.channel["surprise_bits"] for step in steered.steps)
    assert mean == pytest.approx(target, rel=0.05)
    assert steered.steps[-1].channel["mean_surprise_bits"] == pytest.approx(mean, abs=1e-5)


def test_version_1_cannot_go_below_the_surprise_of_the_best_token_and_version_2_can() -> None:
    one, two = run(endless(), ["mirostat-v1:tau_bits=2", "mirostat-v2:tau_bits=2"], Request("Hello.", max_tokens=150))
    best = fmean(-math.log2(step.alternatives[0].prob) for step in one.steps)
    assert best > 3
    assert one.steps[-1].channel["mean_surprise_bits"] >= best
    assert one.steps[-1].channel["mu"] < 0
    assert two.steps[-1].channel["mean_surprise_bits"] < 2.2


def test_with_filters_version_2_still_meets_its_target_in_what_is_drawn() -> None:
    (trace,) = run(endless(), ["mirostat-v2:tau_bits=2,top_k=12"])
    assert trace.order == ("mirostat", "temperature", "top_k")
    assert fmean(-step.logprob_drawn for step in trace.steps) / math.log(2) == pytest.approx(2, rel=0.05)


def test_only_an_unreachable_target_is_called_so() -> None:
    def note(model: TinyLM, spec: str) -> str:
        (trace,) = run(model, [spec], Request("Hello.", max_tokens=200))
        values: Mapping[str, float | int | str] = parse(spec, KINDS).values
        return mirostat.unreachable(values, trace.steps)

    assert note(endless(), "mirostat-v2:tau_bits=2") == ""
    sentence = note(TinyLM(end_bias=-99.0, sharpness=8.0), "mirostat-v2:tau_bits=6")
    assert "target of 6 bits (4.16 nats) is unreachable here" in sentence
    assert sentence.count(". ") == 0
