"""Sampling: the filters are transformers' filters, and what is drawn follows the distribution it is drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import (
    EtaLogitsWarper,
    MinPLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from playground.decoding.sampling import (
    FILTER_OFF,
    FILTER_ORDER,
    entropy,
    filtered,
    invert_cdf,
    random_stream,
    stream_key,
    tempered,
    uniform,
)

V = 300
THEIRS: dict[str, tuple[Callable[[float], object], tuple[float, ...]]] = {
    "top_k": (lambda k: TopKLogitsWarper(int(k)), (1, 5, 40, 10_000)),
    "top_p": (TopPLogitsWarper, (0.05, 0.5, 0.9, 0.999)),
    "min_p": (MinPLogitsWarper, (0.01, 0.1, 0.7, 1.0)),
    "typical_p": (TypicalLogitsWarper, (0.1, 0.5, 0.95)),
    "eta_cutoff": (EtaLogitsWarper, (1e-4, 3e-3, 0.2)),
}


def logits_of(seed: int, rows: int = 12) -> Tensor:
    """Rows from nearly flat to very peaked."""
    noise = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-1, 1, rows, dtype=torch.float64)[:, None]
    return torch.randn(rows, V, dtype=torch.float64, generator=noise) * scale


def keep(name: str, value: float, logits: Tensor) -> Tensor:
    settings = [{**FILTER_OFF, name: value}] * len(logits)
    return filtered(torch.log_softmax(logits, -1), logits, settings)


@pytest.mark.parametrize("name", THEIRS)
def test_a_filter_keeps_what_transformers_keeps(name: str) -> None:
    make, values = THEIRS[name]
    for seed, value in enumerate(values):
        logits = logits_of(seed)
        theirs = make(value)(None, logits.clone())  # type: ignore[operator]
        ours = keep(name, value, logits)
        assert torch.equal(ours.isfinite(), theirs.isfinite()), value
        torch.testing.assert_close(ours, torch.log_softmax(theirs, -1))


def test_top_n_sigma_keeps_logits_within_n_deviations_of_the_largest() -> None:
    for n in (0.5, 1.0, 3.0):
        for row in logits_of(3):
            values = row.tolist()
            mean = math.fsum(values) / V
            deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / V)
            kept = {i for i, x in enumerate(values) if x >= max(values) - n * deviation}
            ours = keep("top_n_sigma", n, row[None])[0]
            assert set(ours.isfinite().nonzero()[:, 0].tolist()) == kept


def test_top_n_sigma_does_not_depend_on_the_temperature() -> None:
    logits = logits_of(4)
    settings = [{**FILTER_OFF, "top_n_sigma": 1.0}] * len(logits)
    cold, hot = (
        filtered(tempered(logits, torch.full((len(logits),), t, dtype=torch.float64)), logits, settings)
        for t in (0.5, 2.0)
    )
    assert torch.equal(cold.isfinite(), hot.isfinite())


def test_filters_together_never_remove_everything_and_leave_a_distribution() -> None:
    draw = torch.Generator().manual_seed(0)
    harshest = {"top_k": 1, "top_p": 1e-9, "min_p": 1.0, "typical_p": 1e-9, "eta_cutoff": 1.0, "top_n_sigma": 1e-9}
    for seed in range(20):
        logits = logits_of(seed)
        chosen = torch.rand(len(logits), len(FILTER_ORDER), generator=draw) < 0.6
        settings = [
            {name: harshest[name] if on else FILTER_OFF[name] for name, on in zip(FILTER_ORDER, row, strict=True)}
            for row in chosen.tolist()
        ]
        probs = filtered(torch.log_softmax(logits, -1), logits, settings).exp()
        torch.testing.assert_close(probs.sum(-1), torch.ones(len(logits), dtype=torch.float64))
        assert (probs > 0).any(-1).all()


def test_a_row_is_filtered_by_its_own_settings_only() -> None:
    logits = logits_of(5, rows=3)
    settings = [dict(FILTER_OFF), {**FILTER_OFF, "top_k": 3}, {**FILTER_OFF, "top_k": 7, "min_p": 0.5}]
    together = filtered(torch.log_softmax(logits, -1), logits, settings)
    assert torch.equal(together[0], torch.log_softmax(logits[0], -1))
    for b in range(3):
        alone = filtered(torch.log_softmax(logits[b : b + 1], -1), logits[b : b + 1], settings[b : b + 1])
        assert torch.equal(alone[0], together[b])


def test_the_inverse_is_the_first_token_whose_cumulative_mass_exceeds_u() -> None:
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]], dtype=torch.float64)
    for u, token in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1 - 2**-53, 4)]:
        assert int(invert_cdf(probs, torch.tensor([u], dtype=torch.float64))) == token, u
    for seed in range(50):
        row = torch.softmax(logits_of(seed, rows=1)[0], -1)
        u = uniform(random_stream(seed))
        token, total = 0, float(row[0])
        while total <= float(u):
            token += 1
            total += float(row[token])
        assert int(invert_cdf(row[None], u)) == token


def test_no_token_of_probability_zero_is_ever_drawn() -> None:
    draw = torch.Generator().manual_seed(1)
    edge = torch.tensor([0.0, 2**-53, 0.5, 1 - 2**-53, 1.0], dtype=torch.float64)
    for _ in range(200):
        probs = torch.rand(1, 50, dtype=torch.float64, generator=draw)
        probs[torch.rand(1, 50, generator=draw) < 0.8] = 0
        probs[0, int(torch.randint(50, (), generator=draw))] = 1e-12
        probs = (probs / probs.sum()).expand(len(edge), -1)
        tokens = invert_cdf(probs, edge)
        assert (probs.gather(-1, tokens[:, None]) > 0).all()


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    probs = torch.tensor([0.5, 0.3, 0.0, 0.15, 0.04, 0.01], dtype=torch.float64)
    count = 20_000
    tokens = invert_cdf(probs.expand(count, -1), uniform(random_stream("frequency"), count))
    seen = torch.bincount(tokens, minlength=6).double()
    assert seen[2] == 0
    wanted = probs * count
    chi_square = float(((seen - wanted) ** 2 / wanted)[probs > 0].sum())
    assert chi_square < 18.5  # 4 degrees of freedom, p = 0.001


def test_the_entropy_of_uniform_is_the_log_of_its_size_and_of_one_hot_zero() -> None:
    flat = torch.full((2, V), -math.log(V), dtype=torch.float64)
    assert entropy(flat).tolist() == pytest.approx([math.log(V)] * 2)
    one_hot = torch.full((V,), -math.inf, dtype=torch.float64)
    one_hot[7] = 0.0
    assert float(entropy(one_hot)) == 0.0


def test_one_leaves_the_distribution_unchanged_and_rows_keep_their_own_temperature() -> None:
    logits = logits_of(6, rows=3)
    logprobs = tempered(logits, torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64))
    assert torch.equal(logprobs[0], torch.log_softmax(logits[0], -1))
    assert logprobs[1].exp().tolist() == torch.nn.functional.one_hot(logits[1].argmax(), V).double().tolist()
    torch.testing.assert_close(logprobs[2].exp(), torch.softmax(2 * logits[2], -1))


@pytest.mark.parametrize("temperature", [1e-2, 1e-30, 1e-300, 1e-310, 5e-324])
def test_the_smallest_temperatures_are_greedy_and_never_nan(temperature: float) -> None:
    logits = torch.stack([logits_of(7)[8] * 3, logits_of(7)[8] * 3 - 200])
    probs = tempered(logits, torch.full((2,), temperature, dtype=torch.float64)).exp()
    assert not probs.isnan().any()
    assert torch.equal(probs.argmax(-1), logits.argmax(-1))
    assert (probs.max(-1).values > 0.99).all()


def test_streams_are_keyed_by_text_and_stay_what_they_were() -> None:
    """A golden value: were it to change, every stored seed would mean other tokens."""
    assert stream_key(7, "fixed:temperature=1.0", 0) == GOLDEN_KEY
    assert stream_key(0, "ab") != stream_key(0, "a", "b")
    assert float(uniform(random_stream(7, "fixed:temperature=1.0", 0))) == GOLDEN_UNIFORM
    assert torch.equal(uniform(random_stream(3), 5), uniform(random_stream("3"), 5))


GOLDEN_KEY = 7389474047227530305
GOLDEN_UNIFORM = 0.21034471046738545
