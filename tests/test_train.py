"""Training: the same seed gives the same head, a planted rule is learned, and what was held out was not trained on."""

import json
import math
from dataclasses import fields, replace

import pytest
import torch

from models.checkpoints import get, load, load_head, read
from models.meta import Base
from playground.__main__ import main
from playground.errors import PlaygroundError
from playground.training import train
from playground.training.fit import Pairs, Recipe, fit, held_margins, split_by_prompt
from playground.training.labels import candidates
from playground.training.lpo import LOSSES
from playground.training.train_commands import RECIPE_FLAGS
from tests.graded import decoded, vote, votes, write

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
    short = replace(QUICK, epochs=8)
    first, second = fit(planted(), 4, short), fit(planted(), 4, short)
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(first.decoder.state_dict().values(), second.decoder.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    other = fit(planted(), 4, replace(short, seed=1))
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


@pytest.mark.parametrize(
    "line", [b"[]", b"5", b'"x"', b"null", b"{", b"", b"\xff", b"[" * 100_000, b'{"format": "preference/1"}']
)
def test_a_line_that_is_no_vote_is_named_by_file_and_number_whatever_flag_names_the_file(tiny, tmp_path, line):
    data = write(tmp_path / "votes.jsonl", votes(tiny, "token", 1))
    data.write_bytes(data.read_bytes() + line + b"\n" + data.read_bytes())
    with pytest.raises(PlaygroundError, match=r"line 2 of .*votes\.jsonl") as refused:
        train.read_preferences([data])
    missing = tmp_path / "missing.jsonl"
    with pytest.raises(PlaygroundError, match=r"missing\.jsonl cannot be read") as absent:
        train.read_preferences([missing])
    for sentence in (str(refused.value), str(absent.value)):
        assert "`data`" not in sentence  # `evaluate` calls it --labels
        assert sentence.count(". ") == 0
        assert "\n" not in sentence


def test_a_field_of_another_type_is_named_with_its_line(tiny, tmp_path):
    (made,) = votes(tiny, "token", 1)
    for field, value in (("prompt", 5), ("family", 5), ("strength", "big"), ("a", ["x"]), ("a", [[]])):
        data = tmp_path / "votes.jsonl"
        data.write_text(json.dumps({**made.to_record(), field: value}))
        with pytest.raises(PlaygroundError, match=f"line 1 of .*`{field}`"):
            train.read_preferences([data])


@pytest.mark.parametrize(
    ("level", "loss"),
    [
        *(("token", loss) for loss in LOSSES),
        *(("sequence", loss) for loss in LOSSES),
    ],
)
def test_every_loss_trains_at_every_level_and_says_so_in_the_meta(tiny, tmp_path, level, loss):
    data = write(tmp_path / "votes.jsonl", votes(tiny, level, 8))
    recipe = train.recipe_for(level, epochs=2, loss=loss, samples=2, strength="weight", smoothing=0.1)
    made = train.run(tiny, [data], level, "head", tmp_path, tmp_path / "features", recipe)
    training = made.meta.metrics["training"]
    assert made.meta.loss == loss
    assert training["recipe"]["smoothing"] == 0.1
    assert training["train_pairs"] + training["held_out_pairs"] == 8
    assert sum(row["pairs"] for row in training["reliability"]) == training["held_out_pairs"]
    assert math.isfinite(training["held_out_loss"])


def test_the_latent_loss_learns_from_votes_between_fixed_temperatures(tiny, tmp_path):
    """Whoever prefers cold text teaches P(τ) to be cold, though no temperature was ever sampled from a grid."""
    data = []
    for number in range(24):
        cold, hot = decoded(tiny, f"Say {number}", ["fixed:temperature=0.3", "fixed:temperature=1.5"], number, 12)
        data.append(vote([cold], [hot]))
    path = write(tmp_path / "votes.jsonl", data)
    for level in ("token", "sequence"):
        recipe = train.recipe_for(level, loss="latent-token", beta=1.0, learning_rate=3e-3, epochs=20)
        made = train.run(tiny, [path], level, level, tmp_path, tmp_path / "features", recipe)
        assert sum(made.meta.temperature_histogram[:3]) > 0.9
        assert made.meta.metrics["training"]["held_out_accuracy"] > 0.8


def test_a_child_starts_from_its_parent_and_names_it(tiny, tmp_path):
    data = write(tmp_path / "votes.jsonl", votes(tiny, "token", 8))
    recipe = train.recipe_for("token", epochs=3, learning_rate=1e-2)
    parent = train.run(tiny, [data], "token", "parent", tmp_path, tmp_path / "features", recipe)
    still = train.recipe_for("token", epochs=1, learning_rate=1e-12, weight_decay=0.0)
    child = train.run(tiny, [data], "token", "child", tmp_path, tmp_path / "features", still, parent=parent)
    assert child.meta.parent == parent.id
    a, b = load(parent).state_dict(), load(child).state_dict()
    assert all(torch.allclose(a[name], b[name], atol=1e-9) for name in a)
    with pytest.raises(PlaygroundError, match="adaptive-sequence, but 'parent' is adaptive-token"):
        train.run(tiny, [data], "sequence", "x", tmp_path, tmp_path / "features", parent=parent)


def test_progress_is_told_every_epoch_and_stop_ends_with_the_best_so_far():
    seen = []
    result = fit(planted(), 4, QUICK, progress=seen.append, stop=lambda: len(seen) == 3, quiet=True)
    assert [epoch.epoch for epoch in seen] == [0, 1, 2]
    assert result.stopped
    assert result.curve == tuple((epoch.train_loss, epoch.held_out_loss) for epoch in seen)
    assert result.held_out_loss == min(epoch.held_out_loss for epoch in seen)
    assert not fit(planted(), 4, replace(QUICK, epochs=2), stop=lambda: False, quiet=True).stopped


def test_accumulated_batches_make_the_update_of_one():
    small, large = replace(QUICK, batch=4, accumulate=4, epochs=3), replace(QUICK, batch=16, epochs=3)
    first, second = (fit(planted(), 4, recipe, quiet=True).decoder.state_dict() for recipe in (small, large))
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-4, rtol=1e-3)


def test_calibration_lowers_the_held_out_loss_and_moves_no_favourite():
    sure = replace(QUICK, beta=5.0, epochs=6)
    plain = fit(planted(pairs=24), 4, sure, quiet=True)
    scaled = fit(planted(pairs=24), 4, replace(sure, calibrate="temperature"), quiet=True)
    assert scaled.logit_scale != 1
    assert scaled.held_out_loss < plain.held_out_loss
    states = torch.randn(50, 6)
    assert torch.equal(plain.decoder(states).argmax(-1), scaled.decoder(states).argmax(-1))


def test_smoothing_keeps_separable_votes_from_infinity():
    pairs = planted(pairs=16, steps=1)
    long = replace(QUICK, beta=1.0, epochs=60, patience=60, learning_rate=1e-2, weight_decay=0.0)
    own = [fit(pairs, 4, replace(long, smoothing=e), quiet=True) for e in (0.0, 0.2)]
    last = [result.curve[-1][0] for result in own]
    assert last[0] < 0.4 < last[1]  # −ε log ε − (1 − ε) log(1 − ε) = .50 is the least that smoothing allows


def test_equal_temperatures_leave_the_head_uniform():
    pairs = planted(pairs=20, steps=1)
    equal = replace(pairs, index=torch.zeros_like(pairs.index), hidden=pairs.hidden[::2], state=pairs.pair)
    result = fit(equal, 4, replace(QUICK, epochs=3, dropout=0.5), quiet=True)
    assert torch.equal(result.decoder.last.weight, torch.zeros_like(result.decoder.last.weight))
    assert not held_margins(result.decoder, equal).any()


def test_data_that_cannot_teach_is_refused_in_one_sentence(tiny, tmp_path):
    cold, hot = (decoded(tiny, "Hello", [f"fixed:temperature={t}"])[0] for t in (0.2, 0.8))
    other = decoded(tiny, "Again", ["fixed:temperature=0.2"])[0]
    cases = [
        ([vote([cold], [hot]), vote([other], [hot], prompt="Again")], "prefers temperature 0.2 in all 2 votes"),
        ([vote([cold], [hot]), vote([hot], [cold])], "at least 2 prompts, got 1"),
        ([vote([cold], [cold])], "equal temperature: 1"),
        ([vote([cold], [hot], "tie")], "undecided: 1"),
    ]
    for data, sentence in cases:
        path = write(tmp_path / "votes.jsonl", data)
        with pytest.raises(PlaygroundError, match=sentence) as refused:
            train.run(tiny, [path], "sequence", "head", tmp_path, tmp_path / "features")
        assert str(refused.value).count(". ") == 0
    assert not (tmp_path / "head.safetensors").exists()


def test_a_place_that_cannot_take_the_head_is_refused_before_anything_is_read(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    for folder, name, sentence in ((tmp_path, "No Name", "a-z, 0-9"), (tmp_path / "file", "head", "cannot be written")):
        with pytest.raises(PlaygroundError, match=sentence):
            train.run(tiny, [tmp_path / "missing.jsonl"], "token", name, folder, tmp_path / "features")


def test_another_heads_name_is_refused_and_the_same_training_may_run_again(tiny, tmp_path):
    data, quick = write(tmp_path / "votes.jsonl", votes(tiny, "token", 8)), replace(QUICK, epochs=2)
    places = {"name": "head", "folder": tmp_path, "features_folder": tmp_path / "features"}
    first = train.run(tiny, [data], "token", **places, recipe=quick)
    assert train.run(tiny, [data], "token", **places, recipe=quick).sha256 == first.sha256
    for other in ({"recipe": replace(quick, seed=7)}, {"recipe": quick, "parent": first}):
        with pytest.raises(PlaygroundError, match="another head 'head'"):
            train.run(tiny, [data], "token", **places, **other)
    assert read(tmp_path, "head").sha256 == first.sha256


def test_the_name_of_a_head_that_ships_is_refused_where_no_folder_is_named(tmp_path, capsys):
    (tmp_path / "votes.jsonl").write_text("")
    name = "adaptive-token.smollm2-135m"
    assert main(["train", "--data", str(tmp_path / "votes.jsonl"), "--level", "token", "--out", name]) == 2
    assert capsys.readouterr().err.strip().endswith(f"`--out` must be a new name: a head {name!r} ships.")


def test_states_that_are_no_numbers_and_a_fit_that_diverges_are_refused():
    pairs = planted(pairs=8)
    broken = pairs.hidden.clone()
    broken[3, 1] = math.nan
    with pytest.raises(PlaygroundError, match="NaN or infinite"):
        fit(replace(pairs, hidden=broken), 4, QUICK, quiet=True)
    with pytest.raises(PlaygroundError, match="diverged"):
        fit(pairs, 4, replace(QUICK, learning_rate=1e30), quiet=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "dpo"},
        {"smoothing": 0.5},
        {"held_out": 1.0},
        {"reference": "none"},
        {"reference": "length", "loss": "joint"},
    ],
)
def test_a_recipe_names_what_is_allowed(changes):
    with pytest.raises(PlaygroundError, match="must"):
        Recipe(**changes)


def test_the_command_line_offers_every_figure_of_the_recipe_and_refuses_in_one_sentence(tmp_path, capsys):
    assert {f.name for f in fields(Recipe)} == set(RECIPE_FLAGS)
    data = tmp_path / "votes.jsonl"
    for content, sentence in (("not json", "preference/1"), ("{}", "preference/1"), ("", "no vote at all")):
        data.write_text(content)
        assert main(["train", "--data", str(data), "--level", "token", "--out", "head", "--folder", str(tmp_path)]) == 2
        shown = capsys.readouterr().err.strip().splitlines()
        assert len(shown) == 1
        assert sentence in shown[0]
