"""entropy-switch: the rule against NumPy, the stay, one pass to catch up, and both models as if they had run alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models import checkpoints
from models.errors import ModelError
from models.language_model import LanguageModel
from models.tuned_lens import with_lens
from playground import parts as parts_module
from playground.config import Settings
from playground.decoding import engine
from playground.decoding.decoders import entropy_switch
from playground.decoding.policies import fixed
from playground.decoding.policies.base import Head, Resources
from playground.decoding.policies.spec import parse
from playground.decoding.switching import SwitchRule, switching
from playground.decoding.trace import Event, Finished, Request, TokenStep, Trace
from playground.errors import PlaygroundError
from playground.parts import load_parts
from tests.naive import last_logits
from tests.tiny_llama import tiny_folder
from tests.tiny_lm import END, TinyLM

KINDS = (fixed.KIND, entropy_switch.kind("none"))
SPEC = "entropy-switch:threshold_bits=4.6,stay=3,window=2"
ASKED = Request("Name a sea.", seed=3, max_tokens=60, noise="shared")


def no_head(name: str) -> Head:
    raise AssertionError("the rule reads no head")


class Recording:
    """A model that keeps every forward pass: how many tokens it was fed, and the logits that came out."""

    def __init__(self, model: Any) -> None:
        self.model, self.passes = model, list[tuple[int, Tensor]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def forward(self, asks: Sequence[tuple[Tensor, Any]]) -> Any:
        outputs = self.model.forward(asks)
        self.passes += [(ask[0].shape[1], output.logits[0]) for ask, output in zip(asks, outputs, strict=True)]
        return outputs


def small(**options: Any) -> TinyLM:
    return TinyLM(**{"seed": 1, "hidden_size": 8, "sharpness": 3.0, "end_bias": -30.0, **options})


def large(**options: Any) -> TinyLM:
    return TinyLM(**{"end_bias": -30.0, **options})


def events(model: Any, second: Any, specs: list[str], request: Request = ASKED) -> Any:
    rows = engine.rows_of(request, [parse(spec, KINDS) for spec in specs])
    return engine.stream(model, request, rows, Resources(no_head, small_model=lambda name: second))


def run(model: Any, second: Any, specs: list[str], request: Request = ASKED) -> tuple[Trace, ...]:
    found: list[Event] = list(events(model, second, specs, request))
    assert isinstance(found[-1], Finished)
    return found[-1].traces


def authors(trace: Trace) -> list[int]:
    return [int(step.channel["large"]) for step in trace.steps]


def stretches(letters: Sequence[Any]) -> list[int]:
    """Lengths of the runs of equal letters."""
    lengths = [1]
    for a, b in pairwise(letters):
        lengths[-1:] = [lengths[-1] + 1] if a == b else [lengths[-1], 1]
    return lengths


@pytest.mark.parametrize("seed", range(40))
def test_no_author_writes_fewer_tokens_than_the_stay(seed: int) -> None:
    draw = np.random.default_rng(seed)
    window, stay = int(draw.integers(1, 8)), int(draw.integers(1, 15))
    rule = SwitchRule(2.0, window, stay, bool(draw.integers(2)))
    written = []
    for bits in draw.exponential(2.0, 300):
        written.append(rule.large)
        rule.settle(rule.observe(float(bits)))
    lengths = stretches(written)
    assert len(lengths) > 3
    assert min(lengths[:-1]) >= stay


@pytest.mark.parametrize("start", ["large", "small"])
@pytest.mark.parametrize(("window", "stay"), [(1, 1), (2, 3), (5, 10), (7, 2)])
def test_the_authors_follow_from_the_entropies_of_the_trace(window: int, stay: int, start: str) -> None:
    (trace,) = run(large(), small(), [f"entropy-switch:threshold_bits=4.6,window={window},stay={stay},start={start}"])
    bits = np.array([step.entropy for step in trace.steps]) / np.log(2)
    expected, since = [int(start == "large")], 0
    for t in range(len(bits) - 1):
        mean = np.mean(bits[max(0, t - window + 1) : t + 1])
        assert trace.steps[t].channel["mean_entropy_bits"] == pytest.approx(mean, rel=1e-6)
        since += 1
        wanted = int(mean >= 4.6)
        change = wanted != expected[-1] and since >= stay
        since = 0 if change else since
        expected.append(wanted if change else expected[-1])
    assert authors(trace) == expected
    assert 0 < sum(expected) < len(expected), "both models wrote"


def test_every_token_is_drawn_from_what_its_author_says_after_the_whole_text() -> None:
    models = {1: large(), 0: small()}
    (trace,) = run(models[1], models[0], [SPEC])
    assert len(stretches(authors(trace))) > 4
    for t, (step, author) in enumerate(zip(trace.steps, authors(trace), strict=True)):
        logits = last_logits(models[author], [*trace.prompt_ids, *trace.token_ids[:t]]).double()
        logprobs = torch.log_softmax(logits, -1)
        assert step.logprob == pytest.approx(float(logprobs[step.token_id]), abs=1e-5)
        assert step.entropy == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), abs=1e-5)


def test_a_switch_feeds_what_was_missed_in_one_pass() -> None:
    first, second = Recording(large()), Recording(small())
    (trace,) = run(first, second, [SPEC])
    by = {1: [fed for fed, _ in first.passes[1:]], 0: [fed for fed, _ in second.passes]}
    told = {author: [] for author in (0, 1)}  # type: dict[int, list[int]]
    for step in trace.steps[1:]:
        told[int(step.channel["large"])].append(int(step.channel["fed"]))
    assert by == told, "one pass a token, and the channel says what it was fed"
    assert trace.steps[0].channel["fed"] == 1
    assert by[0][0] >= len(trace.prompt_ids), "the small model's first pass reads the prompt too"
    caught_up = [length + 1 for a, length in zip(_order(trace), stretches(authors(trace)), strict=True) if a == 0]
    assert [fed for fed in by[1] if fed > 1] == caught_up[: sum(fed > 1 for fed in by[1])]


def _order(trace: Trace) -> list[int]:
    """The authors of the stretches."""
    letters = authors(trace)
    return [a for t, a in enumerate(letters) if t == 0 or letters[t - 1] != a]


@pytest.mark.parametrize("filters", ["", ",top_k=5", ",top_p=0.8,min_p=0.05"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_threshold_zero_is_the_large_model_alone(temperature: float, filters: str) -> None:
    specs = [
        f"entropy-switch:threshold_bits=0,temperature={temperature}{filters}",
        f"fixed:temperature={temperature}{filters}",
    ]
    switched, alone = run(large(), small(), specs)
    assert switched.token_ids == alone.token_ids
    assert switched.order == alone.order
    assert [s.logprob_drawn for s in switched.steps] == pytest.approx([s.logprob_drawn for s in alone.steps], abs=1e-6)


def test_a_threshold_out_of_reach_is_the_small_model_alone() -> None:
    (switched,) = run(large(), small(), ["entropy-switch:threshold_bits=20,start=small"])
    (alone,) = run(small(), None, ["fixed"])
    assert switched.token_ids == alone.token_ids


def test_a_lane_is_the_same_beside_others() -> None:
    alone = run(large(), small(), [SPEC], replace(ASKED, noise="own"))
    company = run(large(), small(), ["fixed", SPEC, "entropy-switch:start=small", SPEC], replace(ASKED, noise="own"))
    assert company[1].id == alone[0].id
    assert company[3].token_ids != alone[0].token_ids, "a replica draws its own numbers"


def test_closing_the_stream_stops_both_models() -> None:
    first, second = Recording(large()), Recording(small())
    stream = events(first, second, [SPEC])
    for _ in range(20):
        next(stream)
    passes = len(first.passes) + len(second.passes)
    assert passes <= 20
    stream.close()
    assert next(stream, None) is None
    assert len(first.passes) + len(second.passes) == passes


def test_it_streams_one_token_a_pass_and_names_the_small_model() -> None:
    found = list(events(large(), small(), [SPEC]))
    assert [len(event) for event in found[1:-1]] == [1] * 60
    assert found[0].traces[0].checkpoint == "tiny@seed-1"
    assert found[-1].traces[0].checkpoint == "tiny@seed-1"


def test_the_end_token_of_either_model_ends_the_reply() -> None:
    second = small()
    second.end_ids = frozenset({END, ord("e")})
    (trace,) = run(large(), second, ["entropy-switch:start=small,threshold_bits=20"], replace(ASKED, max_tokens=900))
    assert trace.stop == "end"
    assert trace.token_ids[-1] in second.end_ids


def test_logits_beyond_the_shared_vocabulary_are_never_drawn() -> None:
    wide = large()
    wide.unembed = torch.cat([wide.unembed, torch.full((16, 3), 9.0)], dim=1)
    wide.bias, wide.vocab_size = torch.cat([wide.bias, torch.full((3,), 50.0)]), wide.vocab_size + 3
    (trace,) = run(wide, small(), [SPEC])
    (plain,) = run(large(), small(), [SPEC])
    assert trace.token_ids == plain.token_ids


def test_the_reply_fits_the_smaller_context() -> None:
    second = small()
    prompt = len(second.encode_chat(ASKED.prompt))
    second.context_length = prompt + 7
    (trace,) = run(large(), second, [SPEC])
    assert (len(trace.steps), trace.stop) == (7, "length")
    second.context_length = prompt
    with pytest.raises(
        PlaygroundError, match=r"small model tiny reads at most \d+; shorten the prompt or name another"
    ):
        run(large(), second, [SPEC])


def test_a_small_model_that_gives_nan_is_named() -> None:
    broken = small()
    broken.unembed = torch.full_like(broken.unembed, math.nan)
    broken.name = "broken"
    with pytest.raises(PlaygroundError, match="broken produced NaN at token 0"):
        run(large(), broken, ["entropy-switch:start=small"])


@pytest.mark.parametrize("word", ["threshold_bits=-1", "window=0", "stay=0", "start=both", "temperature=9", "tau=2"])
def test_values_that_do_not_fit_are_refused(word: str) -> None:
    with pytest.raises(PlaygroundError, match=word.partition("=")[0]):
        parse(f"entropy-switch:{word}", KINDS)


def step_with(**channel: float) -> TokenStep:
    return TokenStep(0, 1, "a", 1.0, None, None, None, 1.0, 1.0, -1.0, -1.0, (), channel)


def test_the_figures_count_every_parameter_read_and_every_token_fed() -> None:
    big, little = step_with(large=1, cost=1.0, fed=1), step_with(large=0, cost=0.25, fed=1)
    steps = [
        big,
        replace(little, channel={**little.channel, "fed": 9}),
        little,
        replace(big, channel={**big.channel, "fed": 3}),
    ]
    found = switching(steps)
    assert found is not None
    assert (found.tokens, found.large_share, found.switches) == (4, 0.5, 2)
    assert found.read == pytest.approx((1 + 0.25 + 0.25 + 1) / 4)
    assert found.computed == pytest.approx((1 + 9 * 0.25 + 0.25 + 3) / 4)
    assert switching([]) is None
    assert switching([step_with()]) is None
    assert "50% of 4 tokens (switched 2 times)" in entropy_switch.note({}, steps)


def test_the_cost_of_a_token_is_the_share_of_parameters_its_author_reads() -> None:
    models = {1: large(), 0: small()}
    (trace,) = run(models[1], models[0], [SPEC])
    share = models[0].parameters / models[1].parameters
    for step in trace.steps:
        assert step.channel["cost"] == pytest.approx(1.0 if step.channel["large"] else share)


@pytest.fixture
def with_small(
    settings: Settings, embedded_model: LanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    monkeypatch.setattr(parts_module, "load_language_model", lambda *_: embedded_model)

    def made(**folder: Any) -> Any:
        return load_parts(replace(settings, small_model=str(tiny_folder(tmp_path / "small", **folder))))

    return made


def test_a_second_model_with_the_same_tokens_writes_along(with_small: Any) -> None:
    (trace,) = with_small().generate(Request("Name a sea.", max_tokens=12), ["entropy-switch:threshold_bits=20,stay=4"])
    assert trace.checkpoint.startswith("small@sha256-")
    assert authors(trace) == [1] * 4 + [0] * 8 or trace.stop == "end"
    assert 0 < trace.steps[4].channel["cost"] < 0.02


def test_a_second_model_with_other_tokens_is_refused_with_a_remedy(with_small: Any) -> None:
    parts = with_small(extra=("one-more",), vocab_size=49153)
    with pytest.raises(PlaygroundError) as caught:
        parts.generate(Request("Name a sea."), ["entropy-switch"])
    sentence = str(caught.value)
    assert "another tokenizer" in sentence
    assert "name a smaller model of the same family with --small-model, or leave it out" in sentence
    assert "\n" not in sentence


@pytest.mark.slow
def test_after_a_switch_the_real_models_say_what_a_whole_pass_says(embedded_model: LanguageModel) -> None:
    lens = checkpoints.read(checkpoints.SHIPPED, "tuned-lens.smollm2-135m")
    assert lens.meta.settings["layers"] == 20, "as the policy's summary says"
    assert "20 of the embedded model's 30" in KINDS[1].summary
    second = Recording(with_lens(embedded_model, 20, checkpoints.load(lens), "lens", "0"))
    first = Recording(embedded_model)
    spec = "entropy-switch:threshold_bits=3,stay=2,window=1,temperature=0.7"
    (trace,) = run(first, second, [spec], replace(ASKED, max_tokens=30))
    letters = authors(trace)
    assert len(stretches(letters)) >= 4
    whole = {1: embedded_model.score(trace.prompt_ids, trace.token_ids)}
    whole[0] = second.model.score(trace.prompt_ids, trace.token_ids)
    passes = {1: iter(first.passes), 0: iter(second.passes)}
    for t, author in enumerate(letters):
        torch.testing.assert_close(next(passes[author])[1], whole[author][t], atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_threshold_zero_on_the_real_model_is_fixed_up_to_rounding(embedded_model: LanguageModel) -> None:
    request = replace(ASKED, max_tokens=16)
    switched, alone = run(embedded_model, embedded_model, ["entropy-switch:threshold_bits=0", "fixed"], request)
    assert switched.token_ids == alone.token_ids
    for a, b in zip(switched.steps, alone.steps, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-3)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-3)


def test_a_missing_lens_names_both_remedies(settings: Settings, embedded_model: LanguageModel) -> None:
    from models.meta import Base
    from playground.predictors import Predictors

    base = Base(embedded_model.name, embedded_model.revision, embedded_model.hidden_size, embedded_model.vocab_size)
    predictors = Predictors(embedded_model, (), base, settings)
    with pytest.raises(PlaygroundError, match="--small-model, or train a lens with `python -m playground tuned-lens`"):
        predictors.small_model("none")
    with pytest.raises(ModelError, match="There is no checkpoint 'nothing'"):
        predictors.small_model("nothing")
