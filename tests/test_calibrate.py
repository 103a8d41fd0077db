"""`calibrate`: a head's matched constant, solved on its own replies and written where `matched` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import correlation, fmean

import pytest
import torch

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import Checkpoint, get, save
from models.meta import Base, Meta
from playground.decoding.policies.matched import mean_entropy
from playground.errors import PlaygroundError
from playground.training.evaluation import calibrate
from playground.training.labels.lanes import GRID, replies, request_for, trained
from tests.tiny_lm import TinyLM

NAMES = ("adaptive-token.tiny", "adaptive-sequence.tiny")


def base(model: TinyLM) -> Base:
    return Base.of(model)


@pytest.fixture
def folder(tiny: TinyLM, tmp_path: Path) -> Path:
    for name in NAMES:
        torch.manual_seed(0)
        decoder = AdaptiveDecoder(tiny.hidden_size, len(GRID))
        if name.startswith("adaptive-token"):
            decoder.last.weight.data.normal_(0, 3)  # many temperatures
        else:
            decoder.last.bias.data[3] = 9.0  # always 0.6
        meta = Meta(
            name.partition(".")[0],
            base(tiny),
            GRID,
            256,
            "separate",
            None,
            "0" * 64,
            {"held_out": {}},
            (1 / 7,) * 7,
            "train …",
            "abc",
        )
        save(tmp_path, name, decoder, meta, "")
    prompts = [{"id": f"p{i}", "split": ("train", "test")[i % 2], "prompt": f"Prompt {i}?"} for i in range(12)]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    return tmp_path


def calibrated(model: TinyLM, folder: Path) -> list[Checkpoint]:
    calibrate.run(model, NAMES, [folder], folder / "prompts.json", limit=4, max_tokens=20)
    return [get([folder], name, base(model)) for name in NAMES]


def test_the_constant_has_the_heads_mean_entropy_over_its_own_replies(tiny: TinyLM, folder: Path) -> None:
    token = calibrated(tiny, folder)[0]
    head = trained(token)
    assert head.matched == token.meta.metrics["matched_entropy_temperature"]
    records = calibrate.held_out([folder / "prompts.json"], 4)
    spec = f"adaptive-token:checkpoint={token.name}"
    traces = [replies(tiny, request_for(record, 1, 20), [spec], {token.name: head})[0] for record in records]
    steps = [step for trace in traces for step in trace.steps]
    logits = [tiny.score(trace.prompt_ids, trace.token_ids).double() for trace in traces]
    assert len({step.temperature for step in steps}) > 2
    assert mean_entropy(logits, head.matched)[0] == pytest.approx(fmean(s.entropy_after for s in steps), abs=1e-4)
    figures = token.meta.metrics["matched_entropy"]
    assert (figures["tokens"], figures["prompts"]) == (len(steps), 4)
    expected = correlation([s.temperature for s in steps], [s.entropy for s in steps])
    assert figures["correlation"] == pytest.approx(expected)
    assert f"T = {head.matched:.3f} has the head's mean entropy as drawn" in token.card
    assert f"{expected:+.2f}." in token.card


def test_a_head_of_one_temperature_is_matched_by_it(tiny: TinyLM, folder: Path) -> None:
    sequence = calibrated(tiny, folder)[1]
    assert sequence.meta.metrics["matched_entropy_temperature"] == pytest.approx(0.6, abs=1e-5)
    assert sequence.meta.metrics["matched_entropy"]["correlation"] is None
    assert "none, the temperature never changes" in sequence.card


def test_it_runs_again_to_the_same_figures_and_keeps_the_others(tiny: TinyLM, folder: Path) -> None:
    first = calibrated(tiny, folder)
    assert calibrated(tiny, folder) == first
    assert all("held_out" in checkpoint.meta.metrics for checkpoint in first)


def test_only_held_out_prompts_are_taken_evenly_from_every_file(folder: Path) -> None:
    one = calibrate.held_out([folder / "prompts.json"], 3)
    assert [record["prompt"] for record in one] == ["Prompt 1?", "Prompt 5?", "Prompt 9?"]
    shipped = calibrate.held_out(calibrate.SUITES, 24)
    assert len(shipped) == len({record["prompt"] for record in shipped}) == 24
    assert sum("answers" in record for record in shipped) == 8
    assert all(record.get("split", "test") == "test" for record in shipped)


def test_a_file_without_such_prompts_is_refused_in_one_sentence(folder: Path) -> None:
    for text in ('[{"split": "train", "prompt": "x"}]', "[]", "{}", "[1]", "nonsense"):
        (folder / "bad.json").write_text(text)
        with pytest.raises(PlaygroundError, match="`prompts` must"):
            calibrate.held_out([folder / "bad.json"], 4)
