"""Training: the same seed gives the same head, a planted rule is learned, and what was held out was not trained on."""

import json
import math

import pytest
import torch

from models.checkpoints import Base, get, load_head
from playground.errors import PlaygroundError
from playground.training import candidates, train
from playground.training.fit import Pairs, Recipe, calibration_error, fit, split_by_prompt

QUICK = Recipe(beta=0.5, learning_rate=3e-3, dropout=0.0, epochs=30, patience=30, batch=16)


def planted(pairs: int = 80, steps: int = 12, hidden: int = 6, temperatures: int = 4) -> Pairs:
    """States of two kinds, told apart by the sign of the first coordinate. Chosen replies use temperature 0 in the one kind
    and 3 in the other more often than chance; rejected ones draw uniformly."""
    noise = torch.Generator().manual_seed(5)
    states = torch.randn(pairs * 2 * steps, hidden, generator=noise)
    pair = torch.arange(pairs).repeat_interleave(2 * steps)
    sign = torch.tensor([1.0] * steps + [-1.0] * steps).repeat(pairs)
    index = torch.randint(0, temperatures, (len(pair),), generator=noise)
    right = torch.where(states[:, 0] > 0, 3, 0)
    use = (torch.rand(len(pair), generator=noise) < 0.5) & (sign > 0)
    return Pairs(states, torch.where(use, right, index), pair, sign, tuple(f"prompt {i // 2}" for i in range(pairs)))


def test_a_planted_rule_is_learned_and_generalises():
    result = fit(planted(), 4, QUICK)
    states = torch.randn(200, 6, generator=torch.Generator().manual_seed(9))
    clear = states[states[:, 0].abs() > 0.5]
    chosen = result.decoder(clear).argmax(-1)
    assert (chosen == torch.where(clear[:, 0] > 0, 3, 0)).float().mean() > 0.9
    assert result.held_out_loss < 0.9 * math.log(2)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_stream_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = fit(planted(), 4, QUICK), fit(planted(), 4, QUICK)
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(first.decoder.state_dict().values(), second.decoder.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    other = fit(planted(), 4, Recipe(**{**QUICK.__dict__, "seed": 1}))
    assert not torch.equal(first.decoder.first.weight, other.decoder.first.weight)


def test_the_kept_epoch_has_the_lowest_held_out_loss():
    result = fit(planted(pairs=20), 4, QUICK)
    losses = [held for _, held in result.curve]
    assert result.epoch == losses.index(min(losses))
    assert result.held_out_loss == min(losses)


def test_no_prompt_is_on_both_sides_of_the_split():
    pairs = planted()
    training, held = split_by_prompt(pairs, 0.25, seed=0)
    assert sorted(training + held) == list(range(80))
    assert not {pairs.prompts[i] for i in training} & {pairs.prompts[i] for i in held}
    assert len({pairs.prompts[i] for i in held}) == 10


def test_a_subset_keeps_each_pair_with_its_steps():
    pairs = planted(pairs=4, steps=3)
    part = pairs.subset([3, 1])
    assert part.prompts == (pairs.prompts[3], pairs.prompts[1])
    assert torch.equal(part.hidden[part.pair == 0], pairs.hidden[pairs.pair == 3])
    assert torch.equal(part.index[part.pair == 1], pairs.index[pairs.pair == 1])


def test_calibration_is_zero_for_a_head_that_is_as_sure_as_it_is_right():
    assert calibration_error(torch.tensor([0.75, 0.75, 0.75, 0.25])) == pytest.approx(0)
    assert calibration_error(torch.tensor([1.0, 0.0])) == pytest.approx(0.5)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_from_prompts_to_a_checkpoint_that_decodes(tiny, tmp_path, level):
    prompts = [
        {"id": f"p{i}", "split": "train", "prompt": f"Prompt {i}?", "answers": list("abcdefghij")} for i in range(8)
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    data = tmp_path / "data.jsonl"
    candidates.run(tiny, tmp_path / "prompts.json", "contains-answer", data, level=level, n=14, pairs=3, max_tokens=8)
    recipe = train.recipe_for(level, epochs=3)
    made = [
        train.run(tiny, [data], level, "head", tmp_path / str(i), tmp_path / "features", recipe, "train …")
        for i in range(2)
    ]
    assert made[0].sha256 == made[1].sha256
    base = Base(tiny.name, tiny.revision, tiny.hidden_size, tiny.vocab_size)
    checkpoint = get([tmp_path / "0"], "head", base)
    assert checkpoint.meta.kind == f"adaptive-{level}"
    assert sum(checkpoint.meta.temperature_histogram) == pytest.approx(1)
    assert checkpoint.meta.metrics["training"]["train_pairs"] > 0
    assert "train …" in checkpoint.card
    assert load_head(checkpoint)(torch.zeros(1, tiny.hidden_size)).shape == (1, 7)


def test_votes_without_grid_temperatures_and_broken_files_are_refused(tiny, tmp_path):
    data = tmp_path / "data.jsonl"
    for content, sentence in (("{}\n", "preference/1"), ("", "no vote at all"), ("not json", "preference/1")):
        data.write_text(content)
        with pytest.raises(PlaygroundError, match=sentence):
            train.run(tiny, [data], "token", "head", tmp_path, tmp_path / "features")
