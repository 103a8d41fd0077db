"""Training the difficulty probe: labels by rule, samples against a slow recomputation, and an honest card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.checkpoints import get, load
from models.difficulty_probe import DifficultyProbe
from models.meta import Base
from playground.errors import PlaygroundError
from playground.training.predictors import difficulty
from playground.training.predictors.difficulty import figures, fit
from playground.training.predictors.difficulty_labels import Observed, Recipe, label, observe, sampled
from tests.tiny_lm import TinyLM

SMALL = Recipe(samples=3, max_tokens=6, batch=2, epochs=20)


def record(number: int, split: str = "train") -> dict[str, Any]:
    return {"id": f"q-{number}", "split": split, "prompt": f"What is {number}?", "answers": ["e", str(number)]}


@pytest.mark.parametrize(
    ("accuracy", "entropy", "expected"),
    [
        (0.85, 0.35, "normal"),
        (1.0, 0.36, "easy"),
        (0.84, 0.1, "easy"),
        (0.6, 3.0, "easy"),
        (0.59, 0.1, "hard"),
        (0.0, 9.0, "hard"),
    ],
)
def test_labels_follow_the_rule(accuracy: float, entropy: float, expected: str) -> None:
    assert label(accuracy, entropy) == expected


def test_greedy_samples_equal_a_recomputation_without_cache_or_batch() -> None:
    model, recipe = TinyLM(end_bias=2.0), Recipe(samples=2, temperature=0.0, max_tokens=30)
    records = [record(number) for number in range(5)]
    for (accuracy, entropy), asked in zip(sampled(model, records, recipe), records, strict=True):
        prompt, ids, entropies = model.encode_chat(asked["prompt"]), [], []
        for _ in range(30):
            logits = model.score(prompt, [*ids, 0])[-1].double().numpy()
            p = np.exp(logits - logits.max())
            p /= p.sum()
            entropies.append(float(-(p * np.log(p)).sum()))
            ids.append(int(logits.argmax()))
            if ids[-1] == 256:
                break
        words = "".join(c if c.isalnum() else " " for c in model.decode(ids).lower()).split()
        assert entropy == pytest.approx(np.mean(entropies), abs=1e-4)
        assert accuracy == float(any(answer in words for answer in asked["answers"]))


def test_a_prompts_samples_do_not_depend_on_the_other_prompts() -> None:
    model, records = TinyLM(), [record(number) for number in range(3)]
    together = sampled(model, records, SMALL)
    for asked, expected in zip(records, together, strict=True):
        assert sampled(model, [asked], SMALL)[0] == pytest.approx(expected)
    assert len(set(together)) == 3


def test_a_run_that_was_cut_short_goes_on_without_sampling_again(tmp_path: Path) -> None:
    model, records = TinyLM(), [record(number) for number in range(4)]
    first = observe(model, records[:2], SMALL, tmp_path)
    (path,) = tmp_path.iterdir()
    with path.open("a", encoding="utf-8") as file:
        file.write('\n["half a li')
    steps = model.steps
    again = observe(model, records[:2], SMALL, tmp_path)
    assert model.steps == steps
    assert [(o.accuracy, o.entropy) for o in again] == [(o.accuracy, o.entropy) for o in first]
    assert len(observe(model, records, SMALL, tmp_path)) == 4
    assert model.steps > steps
    assert len(observe(model, records, SMALL, tmp_path)) == 4
    hotter = Recipe(**{**SMALL.__dict__, "temperature": 2.0})
    observe(model, records, hotter, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "other samples are another file"


def planted(count: int, split: str, seed: int) -> list[Observed]:
    """Prompts whose first coordinate says whether they are hard (negative) or easy."""
    states = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    return [Observed(split, state, 0.9 if state[0] > 0 else 0.1, 1.0 + abs(float(state[1]))) for state in states]


def test_a_planted_rule_is_learned_and_the_figures_are_counted_right() -> None:
    observed = planted(200, "train", 1) + planted(40, "dev", 2) + planted(60, "test", 3)
    recipe = Recipe(learning_rate=1e-2, dropout=0.0)
    probe, epoch = fit(observed, recipe)
    assert 0 < epoch <= recipe.epochs
    found = figures(probe, observed)
    test = [o for o in observed if o.split == "test"]
    hard = sum(o.label == "hard" for o in test)
    trained_hard = sum(o.label == "hard" for o in observed if o.split == "train")
    assert found["accuracy"] > 0.75 > found["majority"]
    assert found["majority"] == pytest.approx((hard if trained_hard > 100 else 60 - hard) / 60)
    share = trained_hard / 200
    assert found["chance"] == pytest.approx((hard * share + (60 - hard) * (1 - share)) / 60)
    assert [sum(row) for row in found["confusion"]] == [60 - hard, 0, hard]
    assert found["nats"] < found["nats_of_the_shares"]
    chosen = [{0: 0.5, 1: 0.8, 2: 0.4}[int(i)] for i in probe(torch.stack([o.state for o in test])).argmax(-1)]
    assert found["correlation"] == pytest.approx(np.corrcoef(chosen, [o.entropy for o in test])[0, 1])


def test_fitting_is_deterministic_and_leaves_the_global_stream_alone() -> None:
    observed = planted(30, "train", 1) + planted(10, "dev", 2)
    before = torch.random.get_rng_state()
    (first, _), (second, _) = fit(observed, Recipe(epochs=5)), fit(observed, Recipe(epochs=5))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert not torch.equal(first.last.weight, fit(observed, Recipe(epochs=5, seed=1))[0].last.weight)


def test_prompts_without_a_dev_split_are_refused() -> None:
    with pytest.raises(PlaygroundError, match="splits train, dev and test"):
        fit(planted(10, "train", 1), Recipe())


def test_no_correlation_is_claimed_where_one_preset_serves_all() -> None:
    observed = [*planted(8, "train", 1), *planted(6, "test", 2)]
    probe = DifficultyProbe(5)
    torch.nn.init.zeros_(probe.last.weight)
    assert figures(probe, observed)["correlation"] is None


def test_the_command_writes_a_probe_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([record(i, ("train", "train", "dev", "test")[i % 4]) for i in range(24)]), "utf-8")
    made = difficulty.run(TinyLM(), path, "mine", tmp_path, tmp_path / "cache", SMALL, None, "typed")
    found = get([tmp_path], "mine", Base("tiny", "seed-0", 16, 257))
    assert load(found)(torch.zeros(1, 16)).exp().sum().item() == pytest.approx(1)
    metrics = made.meta.metrics
    assert {split: sum(counts.values()) for split, counts in metrics["labels"].items()} == {
        "train": 12,
        "dev": 6,
        "test": 6,
    }
    assert f"| **this probe** | {metrics['accuracy']:.3f} |" in found.card
    assert "as good as absent" in found.card
    assert f"{metrics['majority']:.3f}" in found.card
    assert "typed" in found.card
