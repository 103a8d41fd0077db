"""AutoDeco's policy: its figures against NumPy on the real model, its bounds, and that it cuts under the tempered distribution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from models.auto_deco import AutoDeco, soft_top_p_mask
from models.checkpoints import SHIPPED, get
from models.checkpoints import load as load_checkpoint
from models.language_model import LanguageModel
from models.meta import Base
from playground.decoding.distribution import Distribution
from playground.decoding.engine import rows_of, stream
from playground.decoding.policies import auto_deco, fixed
from playground.decoding.policies.base import Decision, Head, Predictor, Resources, Row, State
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, Request, Trace
from playground.errors import PlaygroundError
from tests.tiny_lm import TinyLM

KIND = auto_deco.kind("heads")
NAME = "auto-deco.smollm2-135m"


def no_head(name: str) -> Head:
    raise AssertionError("auto-deco reads no grid head")


def resources(call: Callable[[Tensor], Tensor]) -> Resources:
    return Resources(no_head, lambda name, kind: Predictor(f"{name}@0", kind, call))


def constant(temperature: float, top_p: float) -> Callable[[Tensor], Tensor]:
    return lambda hidden: torch.tensor([[temperature, top_p]], dtype=torch.float64).expand(len(hidden), -1)


def decide(call: Callable[[Tensor], Tensor], logits: Tensor, hidden: Tensor | None = None, spec: str = "") -> Decision:
    rows = tuple(Row(parse(f"auto-deco{spec}", [KIND])) for _ in logits)
    hidden = torch.zeros(len(logits), 1) if hidden is None else hidden
    return auto_deco.AutoDeco(rows, resources(call)).decide(Distribution(logits), hidden, State(rows))


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def numpy_heads(weights: dict[str, np.ndarray], hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Temperature and top-p [N] of states [N, H], written out from the equations."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def silu(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    x = (hidden - w["center"]) / w["scale"]
    inner = silu(x @ w["temperature_first.weight"].T + w["temperature_first.bias"])
    temperature = 2 * sigmoid(inner @ w["temperature_last.weight"].T + w["temperature_last.bias"])
    inner = silu(np.concatenate([x, temperature], 1) @ w["top_p_first.weight"].T + w["top_p_first.bias"])
    return temperature[:, 0], sigmoid(inner @ w["top_p_last.weight"].T + w["top_p_last.bias"])[:, 0]


def numpy_drawn(logits: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """softmax(logits / T) over the smallest set with mass top_p, one token at a time."""
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    kept, mass = np.zeros_like(p), 0.0
    for token in np.argsort(-p, kind="stable"):
        if mass >= top_p:
            break
        kept[token] = p[token]
        mass += p[token]
    return kept / kept.sum()


def test_the_shipped_heads_equal_their_equations_in_numpy(
    embedded_model: LanguageModel, captured_logits: np.ndarray, captured_hidden: np.ndarray
) -> None:
    model = embedded_model
    base = Base.of(model)
    module = load_checkpoint(get([SHIPPED], NAME, base)).double()
    weights = load_file(Path(SHIPPED) / f"{NAME}.safetensors")
    decision = decide(module, torch.from_numpy(captured_logits), torch.from_numpy(captured_hidden))
    temperature, top_p = numpy_heads(weights, captured_hidden)
    assert decision.temperature.numpy() == pytest.approx(temperature, abs=1e-4)
    assert decision.channel["top_p"].numpy() == pytest.approx(top_p, abs=1e-4)
    assert decision.keep is not None
    now = Distribution(torch.from_numpy(captured_logits))
    drawn = now.tempered(decision.temperature).keeping(decision.keep).probs.numpy()
    for row in range(len(captured_logits)):
        expected = numpy_drawn(captured_logits[row], temperature[row], top_p[row])
        assert np.abs(drawn[row] - expected).max() < 1e-4
    assert ((temperature > 0) & (temperature < 2)).all()
    assert np.std(temperature) > 0.01, "the shipped heads vary"


def test_heads_start_at_one_and_stay_in_their_bounds() -> None:
    torch.manual_seed(0)
    heads = AutoDeco(8).double()
    assert heads(noise(5, 8))[:, 0].tolist() == [1.0] * 5
    assert heads(noise(5, 8))[:, 1].tolist() == pytest.approx([0.982014] * 5, abs=1e-6)
    heads.start_at(1.1, 0.95)
    assert heads(noise(1, 8))[0].tolist() == pytest.approx([1.1, 0.95])
    heads.start_at(0.7, 1.0)
    assert heads(noise(1, 8))[0].tolist() == pytest.approx([0.7, 0.999])
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    temperature, top_p = heads(noise(200, 8)).unbind(-1)
    assert 0 < temperature.min() < 0.5
    assert 1.5 < temperature.max() <= 2
    assert top_p.min() >= 0
    assert top_p.max() <= 1


def test_the_top_p_head_reads_the_temperature() -> None:
    heads = AutoDeco(4).double()
    torch.nn.init.ones_(heads.top_p_first.weight)
    torch.nn.init.ones_(heads.top_p_last.weight)
    before = heads(noise(1, 4))[0, 1]
    torch.nn.init.constant_(heads.temperature_last.bias, -3.0)
    assert heads(noise(1, 4))[0, 1] < before


def test_the_set_is_that_of_the_tempered_distribution() -> None:
    logits = noise(6, 50, seed=1) * 2
    cold, hot = decide(constant(0.5, 0.9), logits).keep, decide(constant(1.5, 0.9), logits).keep
    assert cold is not None
    assert hot is not None
    assert (cold.sum(-1) < hot.sum(-1)).all()
    for keep, temperature in ((cold, 0.5), (hot, 1.5)):
        for row, kept in enumerate(keep):
            expected = numpy_drawn(logits[row].numpy(), temperature, 0.9) > 0
            assert kept.tolist() == expected.tolist()


@pytest.mark.parametrize("temperature", [1e-8, 0.7, 1.999])
def test_at_least_the_best_token_is_kept(temperature: float) -> None:
    logits = noise(4, 30, seed=2)
    keep = decide(constant(temperature, 0.0), logits).keep
    assert keep is not None
    assert keep.sum(-1).tolist() == [1] * 4
    assert keep.int().argmax(-1).tolist() == logits.argmax(-1).tolist()


def test_without_top_p_every_token_stays_beside_a_row_that_is_cut() -> None:
    rows = tuple(Row(parse(f"auto-deco:use_top_p={word}", [KIND])) for word in ("no", "yes"))
    logits = torch.cat([torch.tensor([[900.0, 0.0, -900.0]], dtype=torch.float64)] * 2)
    decision = auto_deco.AutoDeco(rows, resources(constant(0.8, 0.5))).decide(
        Distribution(logits), torch.zeros(2, 1), State(rows)
    )
    assert decision.keep is not None
    assert decision.keep.tolist() == [[True, True, True], [True, False, False]]
    assert decision.channel["top_p"].tolist() == [1.0, 0.5]


def test_weights_that_predict_nan_are_refused() -> None:
    with pytest.raises(PlaygroundError, match="predicted NaN"):
        decide(constant(float("nan"), 0.5), noise(1, 5))


def generate(model: TinyLM, call: Callable[[Tensor], Tensor], *specs: str, seed: int = 3) -> tuple[Trace, ...]:
    request = Request("Say something.", seed=seed, max_tokens=16)
    rows = rows_of(request, [parse(spec, [KIND, fixed.KIND]) for spec in specs])
    *_, last = stream(model, request, rows, resources(call))
    assert isinstance(last, Finished)
    return last.traces


def tiny_heads(hidden: Tensor) -> Tensor:
    """Heads of random weights over TinyLM's states, one row at a time."""
    torch.manual_seed(4)
    heads = AutoDeco(16).double().eval()
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        return torch.cat([heads(row) for row in hidden.double().split(1)])


def test_a_lane_records_what_was_used_and_is_the_same_in_company(tiny: TinyLM) -> None:
    (alone,) = generate(tiny, tiny_heads, "auto-deco")
    beside = generate(tiny, tiny_heads, "fixed", "auto-deco:use_top_p=no", "auto-deco")
    assert beside[2].id == alone.id
    assert alone.order == ("temperature", "auto_deco_top_p")
    assert beside[1].order == ("temperature",)
    assert alone.checkpoint == "heads@0"
    assert len({step.temperature for step in alone.steps}) > 3
    assert all(0 < step.channel["top_p"] < 1 and step.logprob_drawn > -np.inf for step in alone.steps)
    assert any(step.alternatives[-1].prob_after == 0 for step in alone.steps), "something is cut"


def test_the_soft_mask_is_one_inside_and_falls_by_alpha_outside() -> None:
    cumulative = torch.tensor([[0.5, 0.9, 1.0]], dtype=torch.float64)
    mask = soft_top_p_mask(cumulative, torch.tensor([0.8], dtype=torch.float64))
    assert mask[0].tolist() == pytest.approx([1.0, np.exp(-3.0), np.exp(-6.0)])
