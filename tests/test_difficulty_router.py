"""The difficulty router: it really changes prompt, length and temperature, and decodes exactly what `fixed` would."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from models.checkpoints import SHIPPED, save
from models.difficulty_probe import DifficultyProbe
from models.errors import ModelError
from models.language_model import LanguageModel
from models.meta import Base, Meta
from playground.config import Settings
from playground.decoding.decoders import difficulty_router
from playground.decoding.decoders.difficulty_router import CLASSES, PRESETS, Preset
from playground.decoding.engine import rows_of, stream
from playground.decoding.policies import fixed
from playground.decoding.policies.base import Head, Predictor, Resources
from playground.decoding.policies.spec import NO_CHECKPOINT, parse
from playground.decoding.trace import Finished, Request, Started, Trace
from playground.errors import PlaygroundError
from playground.predictors import Predictors
from tests.tiny_lm import TinyLM

KIND = difficulty_router.kind("probe")
REQUEST = Request("Why is the sea salt?", system="Be exact.", prefill="Because", seed=9, max_tokens=20)


def no_head(name: str) -> Head:
    raise AssertionError("the router reads no grid head")


def finding(*shares: float) -> Resources:
    """A probe that finds these probabilities of easy, normal and hard in every prompt."""
    logprobs = torch.tensor([shares], dtype=torch.float64).log()
    return Resources(no_head, lambda name, kind: Predictor(f"{name}@0", kind, lambda hidden: logprobs))


def generate(model: TinyLM, specs: list[str], having: Resources, request: Request = REQUEST) -> tuple[Trace, ...]:
    *_, last = stream(model, request, rows_of(request, [parse(s, [KIND, fixed.KIND]) for s in specs]), having)
    assert isinstance(last, Finished)
    return last.traces


@pytest.mark.parametrize(
    ("preset", "temperature", "length"), [("easy", 0.5, 8), ("normal", 0.8, 20), ("hard", 0.4, 10)]
)
def test_a_preset_sets_temperature_length_and_prompt(preset: str, temperature: float, length: int) -> None:
    model = TinyLM(end_bias=-50.0)
    (trace,) = generate(model, [f"difficulty-router:preset={preset}"], finding(1, 0, 0))
    assert {step.temperature for step in trace.steps} == {temperature}
    assert (len(trace.steps), trace.stop) == (length, "length")
    used = next(p for p in PRESETS if p.name == preset)
    assert model.decode(trace.prompt_ids) == f"Be exact.\n{REQUEST.prompt}\n\n{used.instruction}\nBecause"
    assert trace.prompt == REQUEST.prompt, "what was asked stays what was asked"
    assert trace.checkpoint is None
    assert all(step.channel == {} for step in trace.steps)


@pytest.mark.parametrize("number", range(3))
def test_the_probe_chooses_and_its_probabilities_are_recorded(tiny: TinyLM, number: int) -> None:
    shares = [0.2, 0.2, 0.2]
    shares[number] = 0.6
    chosen, by_hand = generate(
        tiny, ["difficulty-router", f"difficulty-router:preset={CLASSES[number]}"], finding(*shares)
    )
    assert chosen.checkpoint == "probe@0"
    assert {step.temperature for step in chosen.steps} == {PRESETS[number].temperature}
    assert chosen.prompt_ids == by_hand.prompt_ids
    for step in chosen.steps:
        assert list(step.channel.values()) == pytest.approx(shares)
        assert tuple(step.channel) == CLASSES == tuple(channel.name for channel in KIND.channels)


def test_the_probe_reads_the_state_after_the_plain_prompt(tiny: TinyLM) -> None:
    seen: list[Tensor] = []

    def call(hidden: Tensor) -> Tensor:
        seen.append(hidden)
        return torch.tensor([[0.0, -1.0, -1.0]])

    generate(tiny, ["difficulty-router"], Resources(no_head, lambda name, kind: Predictor(name, kind, call)))
    expected, _ = tiny.prefill(tiny.encode_chat(REQUEST.prompt, REQUEST.system, REQUEST.prefill))
    assert [state.tolist() for state in seen] == [expected.hidden.tolist()]


def test_it_decodes_what_fixed_decodes_from_the_changed_prompt(tiny: TinyLM) -> None:
    shared = Request(REQUEST.prompt, seed=4, max_tokens=20, noise="shared")
    (routed,) = generate(tiny, ["difficulty-router:preset=easy,top_k=7"], finding(1, 0, 0), shared)
    (plain,) = generate(tiny, ["fixed:temperature=0.5,top_k=7"], finding(1, 0, 0), PRESETS[0].request(shared))
    assert routed.steps == plain.steps
    assert routed.prompt_ids == plain.prompt_ids
    assert (routed.order, routed.stop, routed.text) == (("temperature", "top_k"), plain.stop, plain.text)


def test_company_changes_nothing_and_company_is_not_changed(tiny: TinyLM) -> None:
    (alone,) = generate(tiny, ["difficulty-router"], finding(0.1, 0.1, 0.8))
    before, beside, after = generate(tiny, ["fixed", "difficulty-router", "fixed:top_k=3"], finding(0.1, 0.1, 0.8))
    assert beside.id == alone.id
    assert (before.id, after.id) == tuple(t.id for t in generate(tiny, ["fixed", "fixed:top_k=3"], finding(1, 0, 0)))


def test_the_first_event_already_has_the_prompt_that_is_used(tiny: TinyLM) -> None:
    rows = rows_of(REQUEST, [parse("difficulty-router", [KIND])])
    events = stream(tiny, REQUEST, rows, finding(0, 1, 0))
    first = next(events)
    assert isinstance(first, Started)
    assert PRESETS[1].instruction in tiny.decode(first.traces[0].prompt_ids)
    events.close()  # type: ignore[attr-defined]


def test_a_stop_string_ends_the_reply(tiny: TinyLM) -> None:
    (whole,) = generate(tiny, ["difficulty-router:preset=normal"], finding(1, 0, 0))
    middle = whole.text[4]
    (cut,) = generate(tiny, ["difficulty-router:preset=normal"], finding(1, 0, 0), replace(REQUEST, stop=(middle,)))
    assert cut.stop == "stop_string"
    assert cut.text == whole.text[: whole.text.index(middle) + 1]


def test_without_a_probe_it_is_called_a_router_and_auto_is_refused(tiny: TinyLM) -> None:
    bare = difficulty_router.kind(NO_CHECKPOINT)
    assert "until a probe is loaded" in bare.title
    assert "until a probe is loaded" in bare.summary
    assert "until a probe" not in KIND.title + KIND.summary
    rows = rows_of(REQUEST, [parse("difficulty-router", [bare])])
    with pytest.raises(PlaygroundError) as refused:
        next(stream(tiny, REQUEST, rows, Resources(no_head)))
    assert all(f"preset={name}" in str(refused.value) for name in CLASSES)
    rows = rows_of(REQUEST, [parse("difficulty-router:preset=hard", [bare])])
    assert isinstance(list(stream(tiny, REQUEST, rows, Resources(no_head)))[-1], Finished)


@pytest.mark.parametrize(
    ("allowed", "share", "left"), [(1, 0.4, 1), (2, 0.4, 1), (128, 0.4, 51), (128, 0.5, 64), (7, 1.0, 7)]
)
def test_the_length_is_a_share_and_at_least_one_token(allowed: int, share: float, left: int) -> None:
    assert Preset("any", 0.5, share, "Do it.").request(Request("x", max_tokens=allowed)).max_tokens == left


def test_another_models_probe_is_refused(tmp_path: Path) -> None:
    base = Base("tiny", "seed-0", 16, 257)
    meta = Meta("difficulty-probe", base, (), 8, "", None, "", {}, (), "", "")
    save(tmp_path, "mine", DifficultyProbe(16, 8), meta, "card")
    predictors = Predictors(None, [tmp_path], Base("other", "main", 32, 257), Settings())  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"was trained on 'tiny' \(hidden size 16\) but the loaded model is 'other'"):
        predictors.predictor("mine", "difficulty-probe")
    fitting = Predictors(None, [tmp_path], base, Settings())  # type: ignore[arg-type]
    assert fitting.predictor("mine", "difficulty-probe").call(torch.zeros(1, 16)).shape == (1, 3)
    with pytest.raises(PlaygroundError, match="choose one made for auto-deco"):
        fitting.predictor("mine", "auto-deco")


def test_the_shipped_probe_equals_its_equation_in_numpy(
    embedded_model: LanguageModel, captured_hidden: np.ndarray
) -> None:
    name = "difficulty-probe.smollm2-135m"
    model = embedded_model
    base = Base.of(model)
    probe = Predictors(model, [SHIPPED], base, Settings()).predictor(name, "difficulty-probe")
    w = {key: value.astype(np.float64) for key, value in load_file(SHIPPED / f"{name}.safetensors").items()}
    x = (captured_hidden - w["center"]) / w["scale"]
    scores = np.maximum(x @ w["first.weight"].T + w["first.bias"], 0) @ w["last.weight"].T + w["last.bias"]
    expected = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    found: Callable[..., Tensor] = probe.call
    assert found(torch.from_numpy(captured_hidden)).numpy() == pytest.approx(expected, abs=1e-4)
    assert np.exp(expected).sum(-1) == pytest.approx(np.ones(len(expected)), abs=1e-9)
    assert not math.isclose(expected.std(), 0.0)
