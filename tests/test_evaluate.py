"""Held-out figures: intervals by hand, pairing, and a run on TinyLM that writes meta and card."""

import json
import math

import pytest

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import Base, Meta, get, save
from playground.training import evaluate
from playground.training.lanes import GRID
from playground.training.statistics import difference, estimate


def test_the_interval_is_students_t_over_prompts():
    value = estimate([1.0, 2.0, 3.0])
    assert value.mean == 2
    assert value.half == pytest.approx(4.303 * 1 / math.sqrt(3))
    assert estimate([1.0]).half == math.inf


def test_a_difference_is_paired_so_a_constant_gain_is_certain():
    gain = difference([1.5, 2.5, 9.5], [1.0, 2.0, 9.0])
    assert (gain.mean, gain.half) == (pytest.approx(0.5), pytest.approx(0))


@pytest.fixture
def heads(tiny, tmp_path):
    base = Base(tiny.name, tiny.revision, tiny.hidden_size, tiny.vocab_size)
    for kind in ("adaptive-token", "adaptive-sequence"):
        decoder = AdaptiveDecoder(tiny.hidden_size, len(GRID))
        decoder.last.bias.data[3] = 2.0  # always 0.6
        shares = (1 / 7,) * 7
        meta = Meta(kind, base, GRID, 256, "separate", None, "0" * 64, {}, shares, "train …", "abc")
        save(tmp_path, f"{kind}.tiny", decoder, meta, "")
    return tmp_path, base


def test_a_run_writes_figures_for_every_fixed_temperature_and_shuffled(tiny, heads):
    folder, base = heads
    rows = [{"id": f"p{i}", "split": "test", "prompt": f"Prompt {i}?", "answers": list("abcdefg")} for i in range(4)]
    (folder / "prompts.json").write_text(json.dumps(rows))
    names = ["adaptive-token.tiny", "adaptive-sequence.tiny"]

    def run(out):
        evaluate.run(tiny, names, folder, folder / "prompts.json", "contains-answer", out, samples=2, max_tokens=6)
        return {name: get([folder], name, base) for name in names}

    first = run(folder / "a.jsonl")
    for name, checkpoint in first.items():
        figures = checkpoint.meta.metrics["held_out"]["contains-answer"]
        assert set(figures["others"]) == {*(f"fixed {t:g}" for t in GRID), "shuffled"}
        assert figures["prompts"] == 4
        assert checkpoint.meta.temperature_histogram == (0, 0, 0, 1, 0, 0, 0)
        assert f"| **this head** | {figures['head']['mean']:.3f}" in checkpoint.card
        if (
            name == "adaptive-sequence.tiny"
        ):  # always 0.6, so it is that fixed temperature, and shuffling changes nothing
            for label in ("fixed 0.6", "shuffled"):
                assert figures["others"][label]["head_minus_it"]["mean"] == pytest.approx(0)
    lines = (folder / "a.jsonl").read_text().splitlines(keepends=True)
    (folder / "b.jsonl").write_text("".join(lines[:2]))
    assert run(folder / "b.jsonl") == first  # cut after two prompts, it goes on to the same figures
