"""Golden tests of the policies whose own files hold none: recomputed slowly in NumPy from the embedded model's logits and states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models.checkpoints import SHIPPED
from playground.decoding.decoders import entropy_switch
from playground.decoding.distribution import Distribution
from playground.decoding.engine import stream
from playground.decoding.filters import Filters
from playground.decoding.policies import edt
from playground.decoding.policies.adaptive import AdaptiveSequence, AdaptiveToken, kind
from playground.decoding.policies.base import Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request
from playground.parts import Parts, load_parts
from playground.training.labels.lanes import trained
from tests.table_lm import no_head, table_of

GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def nats(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


@pytest.mark.parametrize(("t0", "theta"), [(1.0, 0.5), (0.7, 1.0), (1.4, 3.0)])
def test_edt(captured_logits: np.ndarray, t0: float, theta: float) -> None:
    rows = (Row(parse(f"edt:t0={t0},theta={theta}", [edt.KIND])),)
    policy = edt.EntropyDynamicTemperature(rows, Resources(no_head))
    for logits in captured_logits:
        found = policy.decide(Distribution(torch.from_numpy(logits)[None]), torch.zeros(1, 1), State(rows)).temperature
        assert float(found) == pytest.approx(t0 * 0.8 ** (theta / nats(softmax(logits))), abs=1e-4)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_fixed_with_top_k_top_p_and_min_p(captured_logits: np.ndarray, temperature: float) -> None:
    settings = {"top_k": 40, "top_p": 0.9, "min_p": 0.05, "typical_p": 1.0, "eta_cutoff": 0.0, "top_n_sigma": 0.0}
    for logits in captured_logits:
        h = torch.from_numpy(logits)[None]
        heat = torch.tensor([temperature]).double()
        found = Filters([settings])(Distribution(h).tempered(heat)).probs[0].numpy()
        p = softmax(logits / temperature)
        order = np.argsort(-p, kind="stable")
        kept = order[:40]
        q = p[kept] / p[kept].sum()
        kept = kept[: int((np.cumsum(q) - q < 0.9).sum())]
        q = p[kept] / p[kept].sum()
        kept = kept[q >= 0.05 * q.max()]
        expected = np.zeros_like(p)
        expected[kept] = p[kept] / p[kept].sum()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def head_by_hand(name: str, hidden: np.ndarray) -> np.ndarray:
    """Log-probabilities [T, 7] of a shipped head, from its file alone."""
    w = {key: value.astype(np.float64) for key, value in load_file(SHIPPED / f"{name}.safetensors").items()}
    x = (hidden - w["center"]) / w["scale"]
    for layer in ("first", "second"):
        x = x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]
        x = x / (1 + np.exp(-x))
    return np.log(softmax(x @ w["last.weight"].T + w["last.bias"]))


@pytest.fixture(scope="module")
def parts() -> Parts:
    return load_parts()


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_the_shipped_heads(parts: Parts, captured_logits: np.ndarray, captured_hidden: np.ndarray, level: str) -> None:
    name = f"adaptive-{level}.smollm2-135m"
    known = kind(level, name)
    rows = (
        Row(parse(f"adaptive-{level}", [known])),
        Row(parse(f"adaptive-{level}:select=quantile,quantile=0.8", [known])),
    )
    expected = head_by_hand(name, captured_hidden)
    policy = known.build(rows, Resources(lambda wanted: trained(next(h for h in parts.heads if h.name == wanted))))
    assert isinstance(policy, AdaptiveToken | AdaptiveSequence)
    for t, (logits, hidden) in enumerate(zip(captured_logits, captured_hidden, strict=True)):
        state = State(rows, position=t)
        found = policy.decide(
            Distribution(torch.from_numpy(np.stack([logits] * 2))), torch.from_numpy(np.stack([hidden] * 2)), state
        )
        row = expected[t if level == "token" else 0]
        assert found.grid_probs is not None
        np.testing.assert_allclose(found.grid_probs[0], np.exp(row), atol=1e-4)
        reached = int((np.cumsum(np.exp(row)) < 0.8).sum())
        assert found.temperature.tolist() == [GRID[int(row.argmax())], GRID[reached]]


@pytest.mark.parametrize("threshold", [1.0, 2.0, 3.0])
def test_entropy_switch_on_captured_logits(captured_logits: np.ndarray, threshold: float) -> None:
    large, small = table_of(captured_logits), table_of(captured_logits * 1.5)
    known = entropy_switch.kind("lens")
    spec = parse(f"entropy-switch:threshold_bits={threshold},stay=3,window=4", [known])
    request = Request("x", seed=3, max_tokens=20)
    rows = [Row(spec, 0, request.seed, request.noise)]
    *_, end = stream(large, request, rows, Resources(no_head, small_model=lambda name: small))  # type: ignore[arg-type]
    assert isinstance(end, Finished)
    steps = end.traces[0].steps
    entropies: list[float] = []
    author, since, began = 1, 0, {1: 0}
    for t, step in enumerate(steps):
        began.setdefault(author, t)  # a table counts from its first prefill, which for the small one holds tokens too
        last = 5 * steps[t - 1].token_id if t > began[author] else 0
        p = softmax(captured_logits[(t - began[author] + last) % 24] * (1.0 if author else 1.5))
        entropies.append(float(nats(p)) / math.log(2))
        window = float(np.mean(entropies[-4:]))
        assert step.channel["large"] == author
        assert step.channel["mean_entropy_bits"] == pytest.approx(window, abs=1e-4)
        assert step.logprob == pytest.approx(math.log(p[step.token_id]), abs=1e-4)
        since += 1
        wanted = int(window >= threshold)
        if wanted != author and since >= 3:
            author, since = wanted, 0
    assert len(steps) == 20
