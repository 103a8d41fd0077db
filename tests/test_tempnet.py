"""TempNet: the paper's network in NumPy, its folded form, and the policy that asks it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints import SHIPPED, get, load, save
from models.errors import ModelError
from models.language_model import LanguageModel
from models.meta import Base, Meta
from models.tempnet import TempNet
from playground.config import Settings
from playground.decoding.distribution import Distribution
from playground.decoding.policies import tempnet
from playground.decoding.policies.base import Decision, Head, Predictor, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.policies.tempnet import TempNetPolicy
from playground.errors import PlaygroundError
from playground.predictors import Predictors, _row_by_row

NAME = "tempnet.smollm2-135m"
KIND = tempnet.kind(NAME)


def network(size: int, full: bool, seed: int = 0, spread: float = 1.0) -> TempNet:
    """A network of width 16 with random weights whose temperatures differ from one input to the next."""
    torch.manual_seed(seed)
    made = TempNet(size, full, width=16).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=spread if parameter is made.first.weight else 0.7)
    return made


def in_numpy(weights: dict[str, np.ndarray], h: np.ndarray, low: float, high: float) -> float:
    """The temperature for logits h [V], from the paper's formulas, W1 in full."""
    x = h - h.max()
    x = x / np.sqrt((x * x).sum())
    a = 1 / (1 + np.exp(-(weights["first.weight"] @ x + weights["first.bias"])))
    z = weights["second.weight"] @ a + weights["second.bias"]
    scaled = z / np.exp(weights["log_scale"][0])
    w = np.exp(scaled - scaled.max()) / np.exp(scaled - scaled.max()).sum()
    o = (weights["last.weight"][0] * ((w - 1 / len(z)) * z)).sum() + weights["last.bias"][0]
    return float(low + (high - low) / (1 + np.exp(-o)))


def arrays(module: TempNet) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def test_the_full_form_is_the_papers_network(captured_logits: np.ndarray, captured_hidden: np.ndarray) -> None:
    made = network(captured_logits.shape[1], full=True, spread=3.0).requires_grad_(False)
    found = made(torch.tensor(captured_logits), torch.tensor(captured_hidden)).numpy()
    expected = [in_numpy(arrays(made), h, 0.01, 2.0) for h in captured_logits]
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.ptp(found) > 0.05


@torch.no_grad()
def test_the_folded_form_is_the_same_function(
    captured_hidden: np.ndarray, captured_logits: np.ndarray, embedded_model: LanguageModel
) -> None:
    unembedding = embedded_model.model.get_output_embeddings().weight
    full = network(len(unembedding), full=True, spread=3.0)
    folded = full.folded(unembedding)
    assert folded.first.weight.shape == (16, embedded_model.hidden_size + 1)
    logits, hidden = torch.tensor(captured_logits), torch.tensor(captured_hidden)
    torch.testing.assert_close(folded(logits, hidden), full(logits, hidden), rtol=0, atol=1e-6)


@torch.no_grad()
def test_only_the_shape_of_the_logits_matters_to_the_full_form() -> None:
    made, h = network(50, full=True), torch.randn(3, 50, dtype=torch.float64)
    torch.testing.assert_close(made(2.5 * h + 7, h), made(h, h))


@torch.no_grad()
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("sharpness", [0.0, 1e-9, 1.0, 1e6])
def test_every_temperature_lies_within_the_bounds(full: bool, sharpness: float) -> None:
    made = network(50 if full else 8, full, spread=3.0)
    noise = torch.Generator().manual_seed(3)
    hidden = torch.randn(20, 8, dtype=torch.float64, generator=noise) * sharpness
    logits = hidden @ torch.randn(8, 50, dtype=torch.float64, generator=noise)
    taus = made(logits, hidden)
    assert torch.isfinite(taus).all()
    assert ((taus >= 0.01) & (taus <= 2.0)).all()


def no_head(name: str) -> Head:
    raise AssertionError("no AdaptiveDecoder here")


def decide(module: TempNet, logits: Tensor, hidden: Tensor, *specs: str) -> Decision:
    rows = tuple(Row(parse(spec, [KIND])) for spec in specs)
    predictor = Predictor("t@0", "tempnet", _row_by_row(module), {"target_nats": 2.0})
    policy = TempNetPolicy(rows, Resources(no_head, lambda name, kind: predictor))
    return policy.decide(Distribution(logits), hidden, State(rows))


def test_a_row_is_decided_alike_alone_and_in_company_to_the_last_bit() -> None:
    made, noise = network(12, full=False), torch.Generator().manual_seed(1)
    hidden = torch.randn(7, 12, generator=noise)
    logits = torch.randn(7, 301, dtype=torch.float64, generator=noise) * 3
    together = decide(made, logits, hidden, *["tempnet"] * 7)
    for row in range(7):
        alone = decide(made, logits[row : row + 1], hidden[row : row + 1], "tempnet")
        assert float(alone.temperature) == float(together.temperature[row])
        assert float(alone.channel["entropy_gap"]) == float(together.channel["entropy_gap"][row])


@torch.no_grad()
def test_the_bounds_clip_what_the_network_says() -> None:
    made, noise = network(12, full=False), torch.Generator().manual_seed(2)
    hidden = torch.randn(30, 12, dtype=torch.float64, generator=noise)
    logits = torch.randn(30, 90, dtype=torch.float64, generator=noise) * 4
    said = made(logits, hidden)
    low, high = said.quantile(0.3).item(), said.quantile(0.7).item()
    decision = decide(made, logits, hidden, *[f"tempnet:low={low},high={high}"] * 30)
    torch.testing.assert_close(decision.temperature, said.clamp(low, high), rtol=0, atol=1e-8)  # nine digits
    for h, t, gap in zip(logits, decision.temperature, decision.channel["entropy_gap"], strict=True):
        p = torch.softmax(h / t, -1)
        assert float(gap) == pytest.approx(float(torch.special.entr(p).sum()) - 2.0, abs=1e-8)


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(PlaygroundError, match="`low` must be at most `high`"):
        decide(network(3, full=False), torch.zeros(1, 5), torch.zeros(1, 3), "tempnet:low=1.5,high=1.2")


META = Meta("tempnet", Base("m", "r", 6, 40), (), 16, "robust", None, "0" * 64, {}, (), "", "")


@pytest.mark.parametrize("full", [True, False])
def test_both_forms_come_back_from_disk(tmp_path: Path, full: bool) -> None:
    made = network(40 if full else 6, full).float()
    meta = Meta(**{**vars(META), "settings": {"full": float(full), "low": 0.01, "high": 1.5}})
    saved = save(tmp_path, "t", made, meta, "")
    back = load(get([tmp_path], "t", META.base))
    assert saved.meta.settings["full"] == full
    made.high = 1.5
    logits, hidden = torch.randn(4, 40), torch.randn(4, 6)
    torch.testing.assert_close(back(logits, hidden), made.requires_grad_(False)(logits, hidden))
    with pytest.raises(ModelError, match="was trained on 'm'"):
        get([tmp_path], "t", Base("other", "r", 6, 40))


@pytest.fixture(scope="module")
def predictor(embedded_model: LanguageModel) -> Predictor:
    base = Base(embedded_model.name, embedded_model.revision, embedded_model.hidden_size, embedded_model.vocab_size)
    return Predictors(embedded_model, [SHIPPED], base, Settings()).predictor(NAME, "tempnet")


def test_the_shipped_network_is_the_papers_on_the_real_logits(
    predictor: Predictor, captured_logits: np.ndarray, captured_hidden: np.ndarray, embedded_model: LanguageModel
) -> None:
    """W1 is found from the shipped W1 W_U and W1 1: the shortest matrix with both, then the formulas in NumPy."""
    base = Base(embedded_model.name, embedded_model.revision, embedded_model.hidden_size, embedded_model.vocab_size)
    module = load(get([SHIPPED], NAME, base))
    assert isinstance(module, TempNet)
    unembedding = embedded_model.model.get_output_embeddings().weight.double().numpy()
    columns = np.concatenate([unembedding, np.ones((len(unembedding), 1))], axis=1)  # [V, H + 1]
    weights = arrays(module)
    gram = columns.T @ columns
    weights["first.weight"] = np.linalg.solve(gram, weights["first.weight"].T).T @ columns.T  # [D, V]
    found = predictor.call(torch.tensor(captured_logits), torch.tensor(captured_hidden)).numpy()
    expected = [in_numpy(weights, h, module.low, module.high) for h in captured_logits]
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.ptp(found) > 0.3


def test_the_shipped_network_is_hot_where_the_model_is_sure(
    predictor: Predictor, captured_logits: np.ndarray, captured_hidden: np.ndarray
) -> None:
    heats = predictor.call(torch.tensor(captured_logits), torch.tensor(captured_hidden)).numpy()
    logprobs = torch.log_softmax(torch.tensor(captured_logits), -1)
    entropies = -(logprobs.exp() * logprobs).sum(-1).numpy()
    assert np.corrcoef(heats, entropies)[0, 1] < -0.6
