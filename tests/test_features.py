"""Cached states equal those that the policy saw while decoding, and belong to one model and one exact token sequence."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from playground.decoding.policies.base import Head
from playground.errors import PlaygroundError
from playground.records import Preference
from playground.training.features import cached_likelihoods, pairs_of, states, unusable
from playground.training.labels.lanes import GRID, UNIFORM, replies, request_for, uniform


@pytest.fixture
def decoded(tiny):
    """One trace and the hidden states [T, H] that its head was called with."""
    seen = []
    plain = uniform("token", tiny.hidden_size)

    def spy(hidden):
        seen.append(hidden[0].clone())
        return plain.log_probs(hidden)

    head = Head(UNIFORM, "token", GRID, spy, plain.histogram)
    spec = f"adaptive-token:checkpoint={UNIFORM},select=sample"
    (trace,) = replies(tiny, request_for({"prompt": "Hello"}, 1, 15), [spec], {UNIFORM: head})
    return trace, torch.stack(seen[: len(trace.steps)])


def test_teacher_forced_states_equal_the_decode_time_states(tiny, decoded, tmp_path):
    trace, seen = decoded
    for _ in range(2):  # computed, then read from the cache
        torch.testing.assert_close(states(tiny, trace, "token", tmp_path), seen, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(states(tiny, trace, "sequence", tmp_path), seen[:1], atol=1e-3, rtol=1e-3)


def test_a_second_reading_asks_the_model_nothing(tiny, decoded, tmp_path):
    first = states(tiny, decoded[0], "token", tmp_path)
    steps = tiny.steps
    assert torch.equal(states(tiny, decoded[0], "token", tmp_path), first)
    assert tiny.steps == steps


def test_a_damaged_cache_file_is_computed_again(tiny, decoded, tmp_path):
    first = states(tiny, decoded[0], "token", tmp_path)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"damaged")
    torch.testing.assert_close(states(tiny, decoded[0], "token", tmp_path), first)


def test_a_state_beyond_float16_comes_back_as_it_was_and_others_stay_small(tiny, decoded, tmp_path):
    trace, _ = decoded
    logits = tiny.teacher_forced(trace.prompt_ids, trace.token_ids)[1]
    ordinary, large = torch.ones(2, tiny.hidden_size), torch.ones(2, tiny.hidden_size)
    large[1, 3] = -70_000.0
    for name, hidden, stored in (("a", ordinary, torch.float16), ("b", large, torch.float32)):
        tiny.features = lambda *_, hidden=hidden: hidden
        tiny.teacher_forced = lambda *_, hidden=hidden: (hidden, logits)
        for part in ("states", "likelihoods"):
            folder = tmp_path / name / part
            for _ in range(2):  # computed, then read from the cache
                if part == "states":
                    found = states(tiny, trace, "token", folder)
                else:
                    found, _ = cached_likelihoods(tiny, list(trace.prompt_ids), list(trace.token_ids), GRID, folder)
                assert torch.equal(found, hidden)
            kept = [load_file(path) for path in folder.glob("*.safetensors")]
            assert [tensors["hidden"].dtype for tensors in kept if "hidden" in tensors] == [stored]


def test_other_tokens_or_another_revision_have_other_files(tiny, decoded, tmp_path):
    trace, _ = decoded
    states(tiny, trace, "token", tmp_path)
    states(tiny, replace(trace, steps=trace.steps[:-1]), "token", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    with pytest.raises(PlaygroundError, match="load the model that wrote them"):
        states(tiny, replace(trace, revision="other"), "token", tmp_path)


def preference(a, b, outcome="a"):
    return Preference("v", "b", "verifier", True, "collect", outcome, "a", None, "Hello", None, (a,), (b,))


def test_pairs_hold_every_step_once_with_its_sign(tiny, decoded, tmp_path):
    trace, _ = decoded
    short = replace(trace, steps=trace.steps[:4])
    pairs, dropped = pairs_of(tiny, [preference(trace, short), preference(short, trace, "tie")], "token", tmp_path)
    assert dropped == {"undecided": 1}
    assert pairs.hidden.shape == (len(trace.steps) + 4, tiny.hidden_size)
    assert pairs.sign.tolist() == [1.0] * len(trace.steps) + [-1.0] * 4
    assert pairs.index[: len(trace.steps)].tolist() == [step.grid_index for step in trace.steps]


def test_votes_that_teach_nothing_say_why(decoded):
    trace, _ = decoded
    fixed = replace(trace, steps=tuple(replace(step, grid_index=None) for step in trace.steps))
    greedy = replace(trace, policy=trace.policy.replace("select=sample", "select=argmax"))
    assert unusable(preference(trace, trace, "both_bad"), "token") == "undecided"
    assert unusable(preference(trace, fixed), "token") == "no temperature from a grid"
    assert unusable(preference(trace, greedy), "token") == "temperatures not sampled per token"
    assert unusable(preference(trace, trace), "sequence") == "temperatures not sampled per reply"
    reply = replace(trace, policy=trace.policy.replace("adaptive-token", "adaptive-sequence"))
    assert unusable(preference(reply, reply), "sequence") == "equal temperature"
    assert unusable(preference(trace, trace), "token") is None


def test_at_sequence_level_a_prompt_is_read_once_whatever_the_replies(tiny, tmp_path, monkeypatch):
    traces = replies(tiny, request_for({"prompt": "Hello"}, 1, 5), ["fixed:temperature=1.2"] * 4, {})
    assert len({trace.token_ids[0] for trace in traces}) > 1
    reads = []
    read = tiny.features
    monkeypatch.setattr(tiny, "features", lambda *ids: reads.append(ids) or read(*ids), raising=False)
    for trace in traces:
        expected = read(list(trace.prompt_ids), list(trace.token_ids))[:1]
        assert torch.equal(states(tiny, trace, "sequence", tmp_path).half(), expected.half())
    assert len(reads) == 1
