"""Training AutoDeco: its loss against the full vocabulary, where the loss is least, and that nothing leaks between splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints import get, load
from models.meta import Base
from playground.errors import PlaygroundError
from playground.training.predictors import auto_deco, corpus
from playground.training.predictors.auto_deco import Recipe, Split, fit, gathered, weights
from playground.training.predictors.auto_deco_figures import best_pair, best_temperature, entropy_formula, figures
from playground.training.predictors.ranked import Ranked, losses, ranked
from tests.tiny_lm import TinyLM

QUICK = Recipe(learning_rate=3e-3, dropout=0.0, batch=256, epochs=40, patience=40)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numpy_loss(logits: np.ndarray, token: int, temperature: float, top_p: float | None) -> float:
    """−ln q(token) over the whole vocabulary, sorted, with equations 1 to 3 as they stand."""
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    mask = np.ones_like(p)
    if top_p is not None:
        mask[order] = np.exp(-30 * np.maximum(np.cumsum(p[order]) - top_p, 0))
    return float(-np.log(p[token] * mask[token] / (p * mask).sum()))


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(0.4, None), (1.0, 0.9), (1.0, 0.5), (1.7, None), (0.7, 0.98), (1.4, 0.97)]
)
def test_the_loss_equals_the_full_vocabulary_on_the_real_model(
    captured_logits: np.ndarray, captured_hidden: np.ndarray, temperature: float, top_p: float | None
) -> None:
    order = np.argsort(-captured_logits, axis=-1)
    ids = [int(order[row, place]) for row, place in enumerate([0, 1, 5, 100, 300, 5000] * 4)]
    tokens = ranked(torch.from_numpy(captured_hidden), torch.from_numpy(captured_logits), ids, 0)
    found = losses(tokens, torch.full((24,), temperature), None if top_p is None else torch.full((24,), top_p))
    expected = [numpy_loss(captured_logits[row], ids[row], temperature, top_p) for row in range(24)]
    near = tokens.place < 256
    assert 0 < near.sum() < 24, "reference tokens in the bins are tested too"
    assert found[near].numpy() == pytest.approx(np.array(expected)[near], abs=1e-3, rel=2e-3)
    assert found[~near].numpy() == pytest.approx(np.array(expected)[~near], rel=0.02)
    raw = np.exp(captured_logits - captured_logits.max(-1, keepdims=True))
    raw /= raw.sum(-1, keepdims=True)
    assert tokens.entropy.numpy() == pytest.approx(-(raw * np.log(raw)).sum(-1), abs=1e-4)


def every_token(logits: Tensor) -> Ranked:
    """One distribution [V] with each of its tokens as the reference once."""
    return ranked(torch.zeros(len(logits), 1), logits.expand(len(logits), -1), range(len(logits)), 0)


@pytest.mark.parametrize("sampled_at", [0.5, 1.0, 1.3])
def test_on_own_samples_the_best_temperature_is_a_constant_with_or_without_the_papers_weights(
    sampled_at: float,
) -> None:
    heats = torch.arange(0.1, 1.6, 0.005)
    for seed in range(3):
        logits = 3 * noise(40, seed=seed)
        tokens, shares = every_token(logits), torch.softmax(logits / sampled_at, -1)
        for recipe, expected in ((Recipe(), sampled_at), (Recipe(prior_weight=True), sampled_at / (1 + sampled_at))):
            weight = shares * weights(tokens, recipe, torch.Generator())
            means = [float((weight * losses(tokens, torch.full((40,), float(t)), None)).sum()) for t in heats]
            assert float(heats[int(np.argmin(means))]) == pytest.approx(expected, abs=0.01)


def test_only_easy_tokens_are_dropped_and_about_as_many_as_asked() -> None:
    tokens = Ranked.joined([every_token(noise(50, seed=seed)) for seed in range(60)])
    weight = weights(tokens, Recipe(drop_easy=0.6), torch.Generator().manual_seed(1))
    easy = tokens.place == 0
    assert int(easy.sum()) == 60
    assert (weight[~easy] == 1).all()
    assert 0.35 < float(weight[easy].mean()) < 0.45 + 0.15


def planted(count: int, seed: int) -> Ranked:
    """References drawn at T = .5 where the state's first coordinate is negative and at 1.5 where it is positive."""
    hidden, logits = noise(count, 6, seed=seed), 3 * noise(count, 30, seed=seed + 1)
    heat = torch.where(hidden[:, :1] > 0, 1.5, 0.5)
    drawn = torch.multinomial(torch.softmax(logits / heat, -1), 1, generator=torch.Generator().manual_seed(seed))
    tokens = ranked(hidden, logits, drawn[:, 0].tolist(), 0)
    return Ranked(*(getattr(tokens, f) for f in tokens.__dataclass_fields__ if f != "text"), torch.arange(count) // 20)


def test_a_planted_temperature_is_learned_and_beats_every_constant() -> None:
    split = Split(planted(6000, 1), planted(800, 11), planted(2000, 21))
    heads, epoch, validation = fit(split, QUICK)
    assert 0 < epoch <= QUICK.epochs
    hidden = noise(400, 6, seed=31)
    clear = hidden[hidden[:, 0].abs() > 0.5]
    with torch.no_grad():
        temperature = heads(clear)[:, 0]
    assert temperature[clear[:, 0] < 0].mean() == pytest.approx(0.5, abs=0.15)
    assert temperature[clear[:, 0] > 0].mean() > 1.3, (
        "above 1.5 is no error: a top-p below 1 cools, which heat makes up for"
    )
    found = figures(heads, split.train, split.held_out)
    for label, rival in found["held_out"]["rivals"].items():
        if "heads' T" not in label:
            assert rival["head_minus_it"]["mean"] + rival["head_minus_it"]["half"] < 0, label
    assert validation == pytest.approx(found["held_out"]["head"], abs=0.2)
    assert sum(found["temperature"]["shares"]) == pytest.approx(1)
    with torch.no_grad():
        first = heads(split.held_out.hidden[::20])[:, 0].mean()
    assert found["first_token_temperature"] == pytest.approx(float(first))
    assert abs(found["correlation_temperature_entropy"]) < 0.2, "the planted rule has nothing to do with entropy"


def test_rivals_are_found_where_they_were_planted() -> None:
    logits = 3 * noise(5_000, 12, seed=2)
    drawn = torch.multinomial(torch.softmax(logits / 0.7, -1), 1, generator=torch.Generator().manual_seed(3))
    tokens = ranked(noise(5_000, 1), logits, drawn[:, 0].tolist(), 0)
    assert best_temperature(tokens) == pytest.approx(0.7, abs=0.05)
    assert best_pair(tokens)[0] == pytest.approx(0.7, abs=0.1)
    heat = 2 * torch.sigmoid(-1.0 + 1.5 * tokens.entropy)
    drawn = torch.multinomial(torch.softmax(logits / heat[:, None], -1), 1, generator=torch.Generator().manual_seed(4))
    assert entropy_formula(ranked(noise(5_000, 1), logits, drawn[:, 0].tolist(), 0)) == pytest.approx(
        (-1, 1.5), abs=0.4
    )


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_stream_alone() -> None:
    split = Split(planted(500, 1), planted(100, 11), planted(100, 21))
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    recipe = Recipe(epochs=3, drop_easy=0.5)
    (first, *_), (second, *_) = fit(split, recipe), fit(split, recipe)
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    other = fit(split, Recipe(epochs=3, drop_easy=0.5, seed=1))[0]
    assert not torch.equal(first.temperature_first.weight, other.temperature_first.weight)


def texts(path: Path, count: int = 40) -> Path:
    lines = [json.dumps({"prompt": f"Question {i}?", "reply": f"The answer is {i * 7}."}) for i in range(count)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def logits_of(model: TinyLM, hidden: Tensor) -> Tensor:
    return hidden @ model.unembed + model.bias


def test_every_text_stands_in_one_split_and_a_second_reading_is_the_same(tiny: TinyLM, tmp_path: Path) -> None:
    read, _ = corpus.read(texts(tmp_path / "texts.jsonl"))
    calls: list[int] = []

    def logits(hidden: Tensor) -> Tensor:
        calls.append(len(hidden))
        return logits_of(tiny, hidden)

    first = gathered(tiny, read, tmp_path / "features", None, logits)  # type: ignore[arg-type]
    parts = [set(part.text.tolist()) for part in (first.train, first.validation, first.held_out)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert {i for i, text in enumerate(read) if text.held_out} == parts[2]
    assert len(calls) == 40
    again = gathered(tiny, read, tmp_path / "features", None, logits)  # type: ignore[arg-type]
    assert len(calls) == 40, "what was ranked once is read from the cache"
    assert torch.equal(again.train.values, first.train.values)
    exact = tiny.score(tiny.encode_chat(read[0].prompt), [*tiny.encode_text(read[0].reply), 256])
    mine = next(part for part in (first.train, first.validation, first.held_out) if (part.text == 0).any())
    lowered = exact - exact.amax(-1, keepdim=True)
    assert mine.at(mine.text == 0).values[:, 0].tolist() == [0.0] * len(exact)
    found, wanted = mine.at(mine.text == 0).values[:, 200], lowered.sort(-1, descending=True).values[:, 200]
    assert torch.allclose(found, wanted, atol=0.05), "states are kept in half precision"


def test_too_few_texts_are_refused(tiny: TinyLM, tmp_path: Path) -> None:
    read, _ = corpus.read(texts(tmp_path / "texts.jsonl", 12))
    with pytest.raises(PlaygroundError, match="at least about twenty prompts"):
        gathered(tiny, [t for t in read if t.held_out], tmp_path, None, lambda hidden: logits_of(tiny, hidden))  # type: ignore[arg-type]


def test_the_command_writes_heads_that_load_and_a_card_with_every_rival(
    tiny: TinyLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto_deco, "unembed", logits_of)
    path = texts(tmp_path / "texts.jsonl")
    made = auto_deco.run(tiny, path, "mine", tmp_path, tmp_path / "features", Recipe(epochs=2), None, "typed")  # type: ignore[arg-type]
    found = get([tmp_path], "mine", Base("tiny", "seed-0", 16, 257))
    assert found.id == made.id
    assert load(found)(torch.zeros(1, 16)).shape == (1, 2)
    card = found.card
    assert "typed" in card
    for label, rival in made.meta.metrics["held_out"]["rivals"].items():
        assert f"| {label} | {rival['nats']:.4f} |" in card
        assert f"nats; over tokens {made.meta.metrics['held_out']['head'] - rival['nats']:+.4f}." in card
        assert f"- against {label}: " in card
    assert f"{made.meta.metrics['correlation_temperature_entropy']:+.3f}" in card
