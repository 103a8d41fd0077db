"""Every policy there is, on the real model: finite, within its declared bounds, and the same again for the same seed."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from playground.config import Settings
from playground.decoding.policies.spec import KEPT, NO_CHECKPOINT, PolicyKind
from playground.decoding.trace import Request, Trace
from playground.gallery import load_gallery
from playground.parts import Parts, load_parts

SOURCE = (
    "The Aral Sea lay between Kazakhstan and Uzbekistan. It began to shrink in the 1960s, when rivers were diverted."
)
PROMPTS = ("facts", "grounded", "creative", "instruction", "chat")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return load_parts(Settings(data_folder=tmp_path_factory.mktemp("data"), precision="gguf"))


def requests() -> list[Request]:
    """One gallery prompt of five families, each with a source document."""
    first = {prompt.family: prompt.prompt for prompt in reversed(load_gallery())}
    return [Request(first[family], seed=5, max_tokens=10, source=SOURCE) for family in PROMPTS]


def shared(kind: PolicyKind) -> bool:
    return kind.decoder is None


def specs(parts: Parts, in_lockstep: bool) -> list[str]:
    return [kind.name for kind in parts.catalogue.kinds if shared(kind) == in_lockstep]


def check(trace: Trace, kind: PolicyKind) -> None:
    assert 0 < len(trace.steps) <= 10
    assert "".join(step.text for step in trace.steps) == trace.text
    values = dict(pair.split("=") for pair in trace.policy.partition(":")[2].split(","))
    low, high = float(values.get("low", 0)), float(values.get("high", 5))
    declared = {channel.name for channel in (*kind.channels, *KEPT)}
    assert Trace.from_record(json.loads(json.dumps(trace.to_record(), allow_nan=False))) == replace(trace)
    for step in trace.steps:
        assert math.isfinite(step.temperature)
        assert min(low, high) - 1e-9 <= step.temperature <= max(low, high) + 1e-9
        assert trace.grid is None or step.temperature in trace.grid
        assert 0 <= step.entropy <= math.log(50_000)
        assert 0 <= step.entropy_after <= math.log(50_000)
        assert step.logprob <= 1e-9
        assert step.logprob_drawn <= 1e-9
        assert set(step.channel) <= declared, kind.name
        assert all(math.isfinite(value) for value in step.channel.values())


def test_every_learned_policy_has_its_checkpoint(parts: Parts) -> None:
    defaults = {
        kind.name: key.default for kind in parts.catalogue.kinds for key in kind.keys if key.name == "checkpoint"
    }
    assert len(defaults) >= 3
    assert [name for name, default in defaults.items() if default == NO_CHECKPOINT] == []


@pytest.mark.parametrize("number", range(5), ids=PROMPTS)
def test_policies_of_the_shared_batch_are_finite_bounded_and_reproducible(parts: Parts, number: int) -> None:
    request, names = requests()[number], specs(parts, in_lockstep=True)
    traces = parts.generate(request, names)
    for trace, name in zip(traces, names, strict=True):
        kind = next(kind for kind in parts.catalogue.kinds if kind.name == name)
        check(trace, kind.stands_for[0] if kind.stands_for else kind)
    if number == 0:
        assert [trace.id for trace in parts.generate(request, names)] == [trace.id for trace in traces]
        other = parts.generate(replace(request, seed=6), names)
        assert any(a.token_ids != b.token_ids for a, b in zip(traces, other, strict=True))


@pytest.mark.parametrize("number", range(5), ids=PROMPTS)
def test_policies_with_a_decoder_of_their_own_are_too(parts: Parts, number: int) -> None:
    request = requests()[number]
    for name in specs(parts, in_lockstep=False):
        kind = next(kind for kind in parts.catalogue.kinds if kind.name == name)
        (trace,) = parts.generate(request, [name])
        check(trace, kind)
        if number == 0:
            beside, again = parts.generate(request, ["fixed:temperature=0.7", name])
            assert again.id == trace.id, f"{name} is the same beside another lane"
            assert beside.text


def test_what_a_lane_shows_first_is_what_varies_in_it(parts: Parts) -> None:
    names = [
        kind.name for kind in parts.catalogue.kinds if kind.streams and not kind.control and kind.name != "schedule"
    ]
    requests_ = [replace(request, max_tokens=24) for request in requests()[1:4]]
    flat = []
    for name in names:
        spec = parts.catalogue.parse(name)
        steps = [trace.shown_steps for request in requests_ for trace in parts.generate(request, [name])]
        varied = {
            what: any(len({read(step) for step in reply}) > 1 for reply in steps)
            for what, read in (
                ("temperature", lambda step: step.temperature),
                *((c.name, lambda step, c=c: step.channel.get(c.name)) for c in spec.channels),
            )
        }
        if any(varied.values()) and not varied[spec.shows]:
            flat.append((name, spec.shows, [what for what, seen in varied.items() if seen]))
    assert flat == []
