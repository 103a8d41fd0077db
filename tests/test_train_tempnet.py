"""Training TempNet: the robust loss and its slope, the table that stands for it, and a fit that beats any constant."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints import SHIPPED, get, load, read
from models.language_model import LanguageModel
from models.tempnet import TempNet
from playground.errors import PlaygroundError
from playground.training.predictors import tempnet_card
from playground.training.predictors.corpus import Text
from playground.training.predictors.robust import Curves, cached_curves, curves
from playground.training.predictors.tempnet import (
    Recipe,
    Tokens,
    fit,
    linear,
    mean_loss,
    part_of,
    run,
    tokens_of,
    unscaled,
)
from playground.training.predictors.tempnet_figures import best_constant, figures
from tests.tiny_lm import TinyLM

V, H = 60, 8
CARD = SHIPPED / "tempnet.smollm2-135m.md"


def robust_loss(logits: Tensor, labels: Tensor, tau: Tensor, rho: float) -> Tensor:
    """The equation itself: L [N] in nats for logits [N, V], labels [N] and temperatures [N]; differentiable."""
    above = logits - logits.gather(-1, labels[:, None])  # [N, V]
    mean = torch.logsumexp(above / tau[:, None], dim=-1) - math.log(logits.shape[-1])
    return tau * mean + rho * tau


def some(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """An unembedding [V, H] that is sharp in some directions, states [N, H] of one length, and labels [N]; float64.

    The network reads logits of length 1: how sharp they were it can only tell from their direction, as in a real model.
    """
    noise = torch.Generator().manual_seed(seed)
    sharp = torch.logspace(0.7, -0.7, H, dtype=torch.float64)
    unembedding = torch.randn(V, H, dtype=torch.float64, generator=torch.Generator().manual_seed(99)) * sharp
    hidden = torch.randn(count, H, dtype=torch.float64, generator=noise)
    return unembedding, hidden / hidden.norm(dim=-1, keepdim=True) * 2, torch.randint(V, (count,), generator=noise)


@pytest.mark.parametrize("tau", [0.05, 0.7, 1.9])
def test_the_slope_of_the_loss_is_entropy_minus_target_whatever_the_label(tau: float) -> None:
    unembedding, hidden, _ = some(5)
    logits, rho = hidden @ unembedding.T, 3.1
    for label in (4, 17):
        taus = torch.full((5,), tau, dtype=torch.float64, requires_grad=True)
        robust_loss(logits, torch.full((5,), label), taus, rho).sum().backward()
        entropy = torch.special.entr(torch.softmax(logits / tau, -1)).sum(-1)
        torch.testing.assert_close(taus.grad, entropy + rho - math.log(V), rtol=0, atol=1e-6)


def test_the_loss_is_convex_in_the_temperature() -> None:
    unembedding, hidden, labels = some(5)
    taus = torch.linspace(0.05, 2.0, 200, dtype=torch.float64)
    losses = torch.stack([robust_loss(hidden @ unembedding.T, labels, t.expand(5), 3.1) for t in taus])
    assert (losses[2:] - 2 * losses[1:-1] + losses[:-2] >= -1e-12).all()
    assert (losses.diff(dim=0) < 0).any()
    assert (losses.diff(dim=0) > 0).any()


def test_the_table_has_the_loss_and_its_slope_between_its_temperatures_too(captured_logits: np.ndarray) -> None:
    logits = torch.tensor(captured_logits)
    labels = logits.topk(3, -1).indices[:, 2]
    table, target = curves(logits, labels, 0.01, 2.0), 2.0
    for tau in (0.011, 0.1, 0.33, 0.77, 1.0, 1.3, 1.99):
        taus = torch.full((len(logits),), tau, dtype=torch.float64, requires_grad=True)
        found = table.loss(taus, target)
        exact = robust_loss(logits, labels, taus.detach(), math.log(logits.shape[-1]) - target)
        torch.testing.assert_close(found.detach(), exact, rtol=0, atol=1e-4)
        found.sum().backward()
        entropy = torch.special.entr(torch.softmax(logits / tau, -1)).sum(-1)
        torch.testing.assert_close(taus.grad, entropy - target, rtol=0, atol=1e-2)


def test_tables_in_single_precision_and_in_pieces_are_the_same() -> None:
    unembedding, hidden, labels = some(40)
    logits = hidden @ unembedding.T
    whole = curves(logits, labels, 0.01, 2.0)
    pieces = Curves.joined(
        [curves(h.float(), y, 0.01, 2.0) for h, y in zip(logits.split(7), labels.split(7), strict=True)]
    )
    for a, b in ((whole.value, pieces.value), (whole.slope, pieces.slope), (whole.miss, pieces.miss)):
        torch.testing.assert_close(a.float(), b, rtol=1e-4, atol=2e-4)


def test_curves_come_from_the_cache_the_second_time(tmp_path: Path) -> None:
    unembedding, hidden, labels = some(100)
    asked = []

    def logits(states: Tensor) -> Tensor:
        asked.append(len(states))
        return states @ unembedding.T

    first = cached_curves(hidden, labels, logits, (0.01, 2.0), "key", tmp_path)
    assert sum(asked) == 100
    again = cached_curves(hidden, labels, logits, (0.01, 2.0), "key", tmp_path)
    assert sum(asked) == 100
    whole = curves(hidden @ unembedding.T, labels, 0.01, 2.0)
    for a, b, c in zip(vars(first).values(), vars(again).values(), vars(whole).values(), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c)
    for key, bounds in (("other", (0.01, 2.0)), ("key", (0.01, 1.5))):
        cached_curves(hidden, labels, logits, bounds, key, tmp_path)
    assert sum(asked) == 300


def unembedded(unembedding: Tensor, cap: float | None = None):
    def logits(hidden: Tensor) -> Tensor:
        h = hidden @ unembedding.to(hidden.dtype).T
        return h if cap is None else cap * torch.tanh(h / cap)

    return logits


def prepared(count: int, seed: int, full: bool) -> tuple[Tokens, TempNet]:
    unembedding, hidden, labels = some(count, seed)
    blank = TempNet(V if full else H, full, width=32, dropout=0.1)
    table = curves(unembedded(unembedding)(hidden).float(), labels, blank.low, blank.high)
    return tokens_of(hidden.float(), labels, table, blank), blank


@pytest.mark.parametrize("full", [False, True])
def test_a_fit_beats_the_best_constant_and_comes_near_the_target(full: bool) -> None:
    logits = unembedded(some(1)[0])
    train, blank = prepared(1500, 1, full)
    held, _ = prepared(300, 2, full)
    recipe = Recipe(target_nats=1.5, learning_rate=3e-3, batch=64, epochs=30, dropout=0.1)
    made, epoch, validation = fit(train, held, logits, blank, recipe)
    assert 1 <= epoch <= 30
    found = figures(made, train.curves, held, logits, 1.5)
    rivals = found["rivals"]
    assert rivals["target-entropy"]["loss"] < rivals["network"]["loss"] < rivals["constant"]["loss"]
    assert rivals["network"]["entropy_error"] < 0.6 * rivals["constant"]["entropy_error"]
    assert rivals["target-entropy"]["entropy_error"] < 1e-9
    assert rivals["target-entropy"]["correlation_entropy"] < 0
    assert rivals["constant"]["correlation_entropy"] is None
    # what was kept is what was measured: the standardisation is folded back exactly
    zero, one = torch.zeros(made.first.in_features), torch.ones(made.first.in_features)
    assert mean_loss(made, held, logits, zero, one, 1.5) == pytest.approx(validation, abs=1e-4)


def test_the_same_seed_trains_the_same_network_and_another_does_not() -> None:
    logits = unembedded(some(1)[0])
    train, blank = prepared(300, 1, False)
    held, _ = prepared(100, 2, False)
    made = [fit(train, held, logits, blank, Recipe(epochs=2, batch=64, seed=seed))[0] for seed in (4, 4, 5)]
    same, again, other = (network.first.weight for network in made)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


def test_the_best_constant_is_the_one_with_the_lowest_loss() -> None:
    train, _ = prepared(200, 1, False)
    best = best_constant(train.curves, 1.5)
    for other in (best - 0.05, best + 0.05):
        assert (
            train.curves.loss(torch.full((200,), other), 1.5).mean()
            > train.curves.loss(torch.full((200,), best), 1.5).mean()
        )


def test_a_scale_folded_into_a_layer_changes_nothing_else() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(5, 3).double(), torch.randn(7, 5, dtype=torch.float64)
    centre, scale = torch.randn(5).double(), torch.rand(5).double() + 0.1
    before = layer((x - centre) / scale).detach()
    unscaled(layer, centre, scale)
    torch.testing.assert_close(layer(x), before)


def test_soft_capped_and_biased_logits_are_not_folded() -> None:
    unembedding = torch.randn(V, H)
    plain = unembedded(unembedding)
    assert linear(plain, H)
    assert linear(lambda s: 0.125 * plain(s), H)
    assert not linear(unembedded(unembedding, cap=5.0), H)
    assert not linear(lambda s: plain(s) + 1.0, H)


def test_held_out_texts_are_no_one_elses() -> None:
    held = [part_of(Text(f"q{k}", "a", k % 5 == 0)) for k in range(400)]
    assert all((part == "held out") == (k % 5 == 0) for k, part in enumerate(held))
    assert 20 < held.count("validation") < 70


@pytest.mark.slow
def test_the_whole_run_is_reproducible_and_its_checkpoint_loads(tmp_path: Path, embedded_model: LanguageModel) -> None:
    texts = tmp_path / "texts.jsonl"
    records = [{"prompt": f"Count to {k}.", "reply": f"One, {k}."} for k in range(16)]
    texts.write_text("".join(json.dumps(record) + "\n" for record in records))
    recipe = Recipe(target_nats=1.0, epochs=2, batch=64)
    made = [run(embedded_model, texts, name, tmp_path, tmp_path / "cache", recipe) for name in ("one", "two")]
    assert made[0].sha256 == made[1].sha256
    assert made[0].meta.metrics == made[1].meta.metrics
    assert made[0].meta.settings["rho"] == pytest.approx(math.log(49152) - 1)
    module = load(get([tmp_path], "one", made[0].meta.base))
    assert isinstance(module, TempNet)
    assert not module.full


@pytest.mark.parametrize("nats", [0.0, -1.0, 20.0, math.nan])
def test_a_target_no_temperature_can_have_is_refused(nats: float, tmp_path: Path) -> None:
    with pytest.raises(PlaygroundError, match="`target-nats` must lie between 0 and ln V"):
        run(TinyLM(), tmp_path / "no", "x", tmp_path, tmp_path, Recipe(target_nats=nats))


def test_the_card_is_what_the_description_says() -> None:
    checkpoint = read(SHIPPED, "tempnet.smollm2-135m")
    assert checkpoint.card == tempnet_card.text(checkpoint.name, checkpoint.meta)
    rivals = checkpoint.meta.metrics["rivals"]
    assert rivals["target-entropy"]["loss"] < rivals["network"]["loss"] < rivals["constant"]["loss"]
    assert rivals["network"]["entropy_error"] < rivals["constant"]["entropy_error"]
    assert (SHIPPED / "tempnet.smollm2-135m.safetensors").stat().st_size < 10_000_000
    for word in (
        "python -m playground tempnet --texts FILE",
        "clipped at 1.2",
        "Correlation of temperature",
        "best constant",
    ):
        assert word in checkpoint.card
    assert json.loads((SHIPPED / "tempnet.smollm2-135m.json").read_text())["settings"]["full"] == 0.0
