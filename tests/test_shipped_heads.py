"""The heads that ship: they load for the embedded model, use their grid, and their cards say how they did."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from models.checkpoints import SHIPPED, read
from models.language_model import LanguageModel
from playground import parts as parts_module
from playground.__main__ import parser
from playground.config import Settings
from playground.gallery import load_gallery
from playground.parts import Parts, Request, load_parts
from playground.training.predictors import auto_deco_card, difficulty_card, tempnet_card, tuned_lens_card

NAMES = ("adaptive-token.smollm2-135m", "adaptive-sequence.smollm2-135m")


@pytest.fixture
def parts(settings: Settings, embedded_model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(parts_module, "load_language_model", lambda *_: embedded_model)
    return load_parts(settings)


def test_both_levels_have_a_default_head_under_ten_megabytes(parts: Parts) -> None:
    assert set(NAMES) <= {head.name for head in parts.heads}
    assert parts.refused_heads == ()
    for level, name in zip(("token", "sequence"), NAMES, strict=True):
        assert parts.catalogue.parse(f"adaptive-{level}").values["checkpoint"] == name
        assert (SHIPPED / f"{name}.safetensors").stat().st_size < 10_000_000


def test_argmax_uses_at_least_three_temperatures_on_twenty_gallery_prompts(parts: Parts) -> None:
    used: Counter[float] = Counter()
    for prompt in load_gallery()[::2] + load_gallery()[1:2]:
        request = Request(prompt.prompt, prompt.system, prompt.prefill, max_tokens=12)
        (trace,) = parts.generate(request, ["adaptive-token"])
        used.update(step.temperature for step in trace.steps)
    assert len(used) >= 3, used


def test_the_card_of_the_sequence_level_compares_with_every_fixed_temperature_and_with_shuffled_prompts() -> None:
    card = (SHIPPED / f"{NAMES[1]}.md").read_text(encoding="utf-8")
    grid = json.loads((SHIPPED / f"{NAMES[1]}.json").read_text(encoding="utf-8"))["grid"]
    for name in (*(f"T {temperature:g}" for temperature in grid), "shuffled prompts", "keyword router"):
        assert re.search(rf"\| {name} \|.*±.*\| [+-]0\.\d+ ± 0\.\d+ \|", card), name
    assert "python -m playground train" in card


def test_the_card_of_the_token_level_places_the_head_at_the_frontier_beside_its_controls() -> None:
    card = (SHIPPED / f"{NAMES[0]}.md").read_text(encoding="utf-8")
    for control in ("shuffled of", "matched to", "edt:", "target-entropy:"):
        assert re.search(rf"\| {control}.*\| [+-]0\.\d+ ± 0\.\d+ \|", card), control
    assert "Frontier: fixed:" in card
    assert "python -m playground train" in card


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.md")), ids=lambda path: path.stem)
def test_every_command_of_a_card_is_one_that_this_version_has(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line)[3:] for line in lines if line.startswith("python -m playground ")]
    assert commands
    for command in commands:
        try:
            parser().parse_args(command)
        except SystemExit:
            pytest.fail(shlex.join(command))


@pytest.mark.parametrize(
    ("kind", "card"),
    [
        ("tuned-lens", tuned_lens_card),
        ("difficulty-probe", difficulty_card),
        ("tempnet", tempnet_card),
        ("auto-deco", auto_deco_card),
    ],
)
def test_the_card_of_a_predictor_is_its_meta_and_no_other_models_size(kind: str, card: ModuleType) -> None:
    head = read(SHIPPED, f"{kind}.smollm2-135m")
    assert card.text(head.name, head.meta) == head.card
    elsewhere = replace(head.meta, base=replace(head.meta.base, model="another"))
    assert not re.search("135 ?(m|million)", card.text("head", elsewhere).replace(head.meta.command, ""), re.IGNORECASE)
