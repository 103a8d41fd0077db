"""Training a lens: what a linear map can do is found, KL falls, held-out texts stay out, and the card says what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoints import get
from models.language_model import LanguageModel
from models.meta import Base
from models.tuned_lens import TunedLens, unembed
from playground.config import Settings
from playground.predictors import Predictors
from playground.training.predictors import corpus, tuned_lens
from playground.training.predictors.tuned_lens import (
    LensRecipe,
    States,
    Whitened,
    _sampled,
    fit,
    least_squares,
    measure,
    read_states,
    start,
)
from tests.tiny_llama import tiny_llama

QUICK = LensRecipe(batch=64, learning_rate=1e-2, epochs=10, vocabulary=4096)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_llama(hidden=16, layers=3)


def planted(model: LanguageModel, count: int = 300, noise: float = 0.0) -> States:
    """Final states that are an affine map of the cut ones, passed through the norm."""
    draw = torch.Generator().manual_seed(4)
    cut = torch.randn(count, 16, generator=draw) * torch.logspace(0, 2, 16) + 3
    mixed = cut @ torch.randn(16, 16, generator=draw) / torch.logspace(0, 2, 16).norm() + 0.1
    mixed = mixed + noise * torch.randn(count, 16, generator=draw)
    with torch.no_grad():
        return States(cut, model.model.model.norm(mixed))


def kl(model: LanguageModel, lens: TunedLens, states: States) -> float:
    """Mean KL by NumPy, token by token."""
    with torch.no_grad():
        p = unembed(model, states.final).double().numpy()
        q = unembed(model, model.model.model.norm(lens(states.cut))).double().numpy()
    total = 0.0
    for a, b in zip(p, q, strict=True):
        a, b = a - a.max(), b - b.max()
        a, b = a - np.log(np.exp(a).sum()), b - np.log(np.exp(b).sum())
        total += float((np.exp(a) * (a - b)).sum())
    return total / len(p)


def test_whitened_states_have_mean_zero_and_covariance_one_and_fold_back() -> None:
    states = planted(tiny_llama(hidden=16, layers=3)).cut
    white = Whitened.of(states)
    z = (states.double() - white.mean) @ white.root
    torch.testing.assert_close(z.mean(0), torch.zeros(16).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(16).double(), atol=1e-6, rtol=0)
    weight, bias = torch.randn(16, 16).double(), torch.randn(16).double()
    folded = white.of_map(weight, bias)(states)
    torch.testing.assert_close(folded, (z @ weight.T + bias).float(), atol=1e-3, rtol=1e-3)


def test_fitting_lowers_the_kl_of_its_start_and_of_the_logit_lens(model: LanguageModel) -> None:
    states = planted(model, noise=0.3)
    lens = fit(model, states, QUICK)
    fitted, begun, raw = (kl(model, one, states) for one in (lens, start(model, states), TunedLens(16)))
    assert fitted < 0.97 * begun
    assert begun < 0.5 * raw


def test_least_squares_is_the_best_map_of_the_whitened_states(model: LanguageModel) -> None:
    states = planted(model, noise=0.3)
    white = Whitened.of(states.cut)
    weight, bias = least_squares(model, states, white)
    z = np.column_stack([((states.cut.double() - white.mean) @ white.root).numpy(), np.ones(len(states.cut))])
    target = (states.final / model.model.model.norm.weight).detach().double().numpy()
    solution = np.linalg.lstsq(z, target, rcond=None)[0]
    np.testing.assert_allclose(weight.numpy(), solution[:-1].T, atol=1e-6)
    np.testing.assert_allclose(bias.numpy(), solution[-1], atol=1e-6)


def test_the_same_seed_gives_the_same_lens(model: LanguageModel) -> None:
    states = planted(model, count=100)
    quick = replace(QUICK, epochs=1)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = fit(model, states, quick), fit(model, states, quick)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, fit(model, states, replace(quick, seed=1)).weight)


def test_the_figures_are_those_of_numpy(model: LanguageModel) -> None:
    training, held = planted(model), planted(model, count=40, noise=1.0)
    lens = start(model, training)
    found = measure(model, {"lens": lens}, training, held)
    assert found["lens"]["kl"] == pytest.approx(kl(model, lens, held), abs=1e-4)
    with torch.no_grad():
        p = torch.softmax(unembed(model, held.final), -1).double().numpy()
        q = torch.softmax(unembed(model, model.model.model.norm(lens(held.cut))), -1).double().numpy()
        mean = torch.softmax(unembed(model, training.final), -1).double().numpy().mean(0)
    assert found["lens"]["agreement"] == pytest.approx(np.mean(p.argmax(-1) == q.argmax(-1)), abs=1e-6)
    bits = [-(x * np.log2(x)).sum(-1) for x in (p, q)]
    assert found["large model"]["entropy_bits"] == pytest.approx(bits[0].mean(), abs=1e-4)
    assert found["lens"]["correlation"] == pytest.approx(np.corrcoef(*bits)[0, 1], abs=1e-3)
    assert found["unigram"]["kl"] == pytest.approx((p * np.log(p / mean)).sum(-1).mean(), abs=1e-4)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    lines = [{"prompt": f"Write {i}.", "reply": f"Here is number {i}, as asked."} for i in range(20)]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_held_out_texts_are_read_but_not_trained_on(model: LanguageModel, texts: Path, tmp_path: Path) -> None:
    read, _ = corpus.read(texts)
    training, held = read_states(model, read, 2, tmp_path / "features")
    counts = {
        side: sum(len(model.encode_text(t.reply)) + 1 for t in read if t.held_out == side) for side in (False, True)
    }
    assert (len(training.cut), len(held.cut)) == (counts[False], counts[True])
    assert training.cut.shape == training.final.shape
    prompt, reply = model.encode_chat(read[0].prompt), [*model.encode_text(read[0].reply), model.end_id]
    ids = torch.tensor([[*prompt, *reply[:-1]]])
    with torch.inference_mode():
        states = model.model(ids, output_hidden_states=True).hidden_states[2][0, -len(reply) :]
    side = held if read[0].held_out else training
    torch.testing.assert_close(side.cut[: len(reply)], states, atol=1e-2, rtol=1e-2)  # float16 on disk


def test_from_texts_to_a_small_model(model: LanguageModel, texts: Path, tmp_path: Path) -> None:
    quick = replace(QUICK, epochs=1)
    made = [
        tuned_lens.run(model, texts, 2, "lens", tmp_path / str(i), tmp_path / "features", quick, command="tuned-lens …")
        for i in range(2)
    ]
    assert made[0].sha256 == made[1].sha256
    base = Base.of(model)
    checkpoint = get([tmp_path / "0"], "lens", base)
    figures = checkpoint.meta.metrics["held_out"]
    assert figures["lens"]["kl"] < figures["logit lens"]["kl"]
    for text in (
        "first 2 of the 3 layers",
        f"{figures['lens']['kl']:.3f}",
        f"{figures['unigram']['kl']:.3f}",
        "tuned-lens …",
    ):
        assert text in checkpoint.card
    small = Predictors(model, [tmp_path / "0"], base, Settings(data_folder=tmp_path)).small_model("lens")
    assert f"{small.name}@{small.revision}" == checkpoint.id
    assert small.prefill([1, 2, 3])[0].logits.shape == (1, model.vocab_size)


def test_sampled_tokens_stand_for_all_of_them() -> None:
    """The raised logits of a sample sum, on average, to what all logits sum to."""
    noise, logits = torch.Generator().manual_seed(0), torch.randn(1000, generator=torch.Generator().manual_seed(1))
    order = logits.argsort(descending=True)
    sums = []
    for _ in range(400):
        some, raised = _sampled(order, 200, noise)
        assert len(some.unique()) == 200
        assert torch.equal(some[:100], order[:100])
        sums.append(float((logits[some] + raised).exp().sum()))
    assert np.mean(sums) == pytest.approx(float(logits.exp().sum()), rel=0.01)
    some, raised = _sampled(order, 1000, noise)
    assert torch.equal(some, order)
    assert not raised.any()
