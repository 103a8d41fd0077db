"""The rows of votes: what counts once counts once, likelihoods are the model's, marked spans alone weigh."""

from dataclasses import replace

import pytest
import torch

from playground.errors import PlaygroundError
from playground.training.features import cached_likelihoods, pairs_of
from playground.training.gathered import IGNORED
from playground.training.labels.lanes import GRID
from playground.training.lpo import MUCH, UNSTATED
from tests.graded import decoded, vote, votes


def fixed(tiny, heat, replies=1, prompt="Hello"):
    return decoded(tiny, prompt, [f"fixed:temperature={heat}"] * replies, tokens=8)


def test_a_set_of_replies_is_one_row_and_shares_its_state_with_the_other_side(tiny, tmp_path):
    pairs, dropped = pairs_of(tiny, [vote(fixed(tiny, 0.4, 4), fixed(tiny, 0.8, 4))], "sequence", tmp_path)
    assert dropped == {}
    assert pairs.index.tolist() == [GRID.index(0.4), GRID.index(0.8)]
    assert pairs.sign.tolist() == [1, -1]
    assert pairs.states.tolist() == [0, 0]
    assert pairs.hidden.shape == (1, tiny.hidden_size)


def test_likelihoods_are_the_heated_softmax_of_the_model_along_the_reply(tiny, tmp_path):
    (trace,) = fixed(tiny, 1.0)
    ids = list(trace.token_ids)
    hidden, likelihood = cached_likelihoods(tiny, list(trace.prompt_ids), ids, GRID, tmp_path)
    recorded = torch.tensor([step.logprob for step in trace.steps])
    torch.testing.assert_close(likelihood[:, GRID.index(1.0)], recorded, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(hidden, tiny.features(trace.prompt_ids, ids), atol=1e-3, rtol=1e-3)
    greedy = tiny.score(trace.prompt_ids, ids).argmax(-1) == torch.tensor(ids)
    assert torch.equal(likelihood[:, 0] == 0, greedy)


def test_one_pass_serves_states_and_likelihoods_and_none_is_needed_again(tiny, tmp_path):
    data = [vote(fixed(tiny, 0.4), fixed(tiny, 0.8))]
    passes = []
    whole = tiny.teacher_forced
    tiny.teacher_forced = lambda *ids: (passes.append(ids), whole(*ids))[1]
    first, _ = pairs_of(tiny, data, "token", tmp_path, "latent-token")
    assert len(passes) == 2  # one for each reply
    again, _ = pairs_of(tiny, data, "token", tmp_path, "latent-token")
    assert len(passes) == 2
    assert torch.equal(first.likelihood, again.likelihood)
    pairs_of(tiny, data, "token", tmp_path, "latent-token", grid=(0.0, 1.0))
    assert len(passes) == 4  # another grid, another file
    del tiny.teacher_forced


def test_the_sequence_marginal_has_one_row_a_side_that_sums_the_tokens(tiny, tmp_path):
    a, b = fixed(tiny, 0.4, 2), fixed(tiny, 0.8, 2)
    whole, _ = pairs_of(tiny, [vote(a, b)], "sequence", tmp_path, "latent-sequence")
    tokens, _ = pairs_of(tiny, [vote(a, b)], "sequence", tmp_path, "latent-token")
    assert len(whole.pair) == 2
    assert len(tokens.pair) == sum(len(trace.steps) for trace in (*a, *b))
    chosen = tokens.likelihood[tokens.sign > 0].sum(0)
    torch.testing.assert_close(whole.likelihood[0], chosen)
    assert whole.tokens.tolist() == [sum(len(t.steps) for t in a), sum(len(t.steps) for t in b)]
    assert torch.unique(tokens.states).tolist() == [0]
    assert float(tokens.weight[0]) == 0.5  # the mean of two replies


def test_marked_spans_alone_weigh_and_bad_ones_are_counted(tiny, tmp_path):
    (a,), (b,) = fixed(tiny, 0.4), fixed(tiny, 0.8)
    marked = vote([a], [b], spans=({"arm": "a", "start": 1, "stop": 3},))
    pairs, _ = pairs_of(tiny, [marked], "token", tmp_path, "latent-token")
    assert pairs.weight[pairs.sign > 0].tolist() == [0, 1, 1] + [0] * (len(a.steps) - 3)
    assert pairs.weight[pairs.sign < 0].tolist() == [1] * len(b.steps)
    plain, _ = pairs_of(tiny, [marked], "token", tmp_path, "latent-token", spans=False)
    assert plain.weight.tolist() == [1] * len(plain.pair)
    for span in ("here", {"arm": "a", "start": 2, "stop": 2}, {"arm": "a", "start": 0, "stop": 99}, {"arm": "c"}):
        pairs, dropped = pairs_of(tiny, [replace(marked, spans=(span,))], "token", tmp_path, "latent-token")
        assert dropped == {IGNORED: 1}
        assert pairs.weight.tolist() == [1] * len(pairs.pair)


def test_strength_and_the_constant_margin_of_equation_9_go_with_the_pair(tiny, tmp_path):
    data = votes(tiny, "token", 2)
    data[1] = replace(data[1], strength="much")
    pairs, _ = pairs_of(tiny, data, "token", tmp_path, "joint")
    assert pairs.strengths.tolist() == [UNSTATED, MUCH]
    chosen, rejected = data[0].chosen[0], data[0].rejected[0]
    ratio = [sum(step.logprob_drawn - step.logprob for step in trace.steps) for trace in (chosen, rejected)]
    assert float(pairs.offset[0]) == pytest.approx(ratio[0] - ratio[1], rel=1e-5)
    assert pairs_of(tiny, data, "token", tmp_path)[0].offset is None


def test_reading_can_be_watched_and_stopped(tiny, tmp_path):
    data, seen = votes(tiny, "token", 3), []
    pairs_of(tiny, data, "token", tmp_path, reading=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(PlaygroundError, match="stopped before its first epoch"):
        pairs_of(tiny, data, "token", tmp_path, stop=lambda: True)
