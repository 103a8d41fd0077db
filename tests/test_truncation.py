"""What a cut leaves: every lane that cuts tokens off says at every token how much is left, and no other lane says it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.language_model import LanguageModel
from playground.config import Settings
from playground.decoding.distribution import Distribution
from playground.decoding.filters import Filters
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.spec import KEPT
from playground.decoding.sampling import FILTER_OFF
from playground.decoding.trace import Request, Trace
from playground.parts import Parts, load_parts
from playground.ui.heading import Heading
from playground.ui.render import figures

NAMES = [channel.name for channel in KEPT]
SETTINGS = (
    {"top_k": 7},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"typical_p": 0.6},
    {"eta_cutoff": 0.02},
    {"top_n_sigma": 1.0},
    {"top_k": 50, "top_p": 0.9, "min_p": 0.02},
)
CUTTING = (
    "min-p",
    "top-n-sigma",
    "typical",
    "eta",
    "mirostat-v1",
    "mirostat-v2",
    "quadrants",
    "auto-deco",
    "edt:top_p=0.9",
    "difficulty-router:preset=easy,min_p=0.1",
    "entropy-switch:top_k=20",
    "best-of-n:n=2,top_p=0.9",
    "long-horizon:particles=2,block=4,min_p=0.2",
    "power-sampling:moves=1,block=8,top_k=20",
)
WHOLE = (
    "fixed:temperature=0.7",
    "edt",
    "adaptive-token",
    "quadrants:kept=0",
    "auto-deco:use_top_p=no",
    "difficulty-router:preset=easy",
    "entropy-switch",
    "best-of-n:n=2",
)


def logits_of(dtype: torch.dtype, rows: int = 12) -> Tensor:
    noise = torch.Generator().manual_seed(11)
    scale = torch.logspace(-0.5, 1, rows, dtype=dtype)[:, None]
    return torch.randn(rows, 1000, dtype=dtype, generator=noise) * scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "+".join(setting))
@pytest.mark.parametrize("heat", [0.4, 1.0, 1.7])
def test_the_kept_mass_is_what_the_filters_leave_of_the_tempered_distribution(
    dtype: torch.dtype, setting: dict[str, float], heat: float
) -> None:
    logits = logits_of(dtype)
    after = Filters([{**FILTER_OFF, **setting}] * len(logits))(
        Distribution(logits).tempered(torch.full((len(logits),), heat, dtype=torch.float64))
    )
    before = torch.softmax(logits.double() / heat, -1)
    open_to = after.probs > 0
    rows = range(1, len(logits), 2)
    for row, (mass, count) in zip(rows, after.kept(rows), strict=True):
        assert mass == pytest.approx(float(before[row][open_to[row]].sum()), abs=1e-5)
        assert count == int(open_to[row].sum())


def test_a_greedy_row_keeps_its_one_candidate_and_all_of_its_mass() -> None:
    logits = logits_of(torch.float32, 2)
    cold = Distribution(logits).tempered(torch.zeros(2, dtype=torch.float64))
    assert Filters([{**FILTER_OFF, "min_p": 0.5}] * 2)(cold).kept([0, 1]) == [(1.0, 1), (1.0, 1)]


def test_tokens_that_the_model_rules_out_are_no_candidates() -> None:
    logits = torch.full((1, 300), -math.inf)
    logits[0, :5] = torch.arange(5.0)
    ((mass, count),) = Filters([{**FILTER_OFF, "top_k": 40}])(Distribution(logits)).kept([0])
    assert (mass, count) == (1.0, 5)


def test_a_spec_declares_the_channels_of_a_cut_where_it_cuts() -> None:
    known = catalogue({})
    for spec in map(known.parse, (*CUTTING[:7], "mirostat-v2:top_p=0.5")):
        assert [channel.name for channel in Heading(spec).channels][-2:] == NAMES, str(spec)
    for spec in map(known.parse, ("fixed", "fixed:top_p=1,top_k=0", "edt", "quadrants:kept=0")):
        assert not {channel.name for channel in spec.channels} & set(NAMES), str(spec)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, embedded_model: LanguageModel) -> Parts:
    return load_parts(Settings(data_folder=tmp_path_factory.mktemp("data"), precision="gguf"))


def decoded(parts: Parts, specs: tuple[str, ...]) -> list[Trace]:
    alone = [spec for spec in specs if parts.catalogue.parse(spec).kind.decoder]
    together = [spec for spec in specs if spec not in alone]
    request = Request("Tell me a story about a lighthouse.", seed=3, max_tokens=10)
    return [*parts.generate(request, together), *(parts.generate(request, [spec])[0] for spec in alone)]


def test_every_lane_that_cuts_says_at_every_token_what_is_left(parts: Parts) -> None:
    for trace in decoded(parts, CUTTING):
        spec = parts.catalogue.parse(trace.policy)
        for step in trace.steps:
            assert [name for name in step.channel if name in NAMES] == NAMES, trace.policy
            assert set(step.channel) <= {channel.name for channel in spec.channels}
            mass, count = (step.channel[name] for name in NAMES)
            assert 0 < mass <= 1
            assert count == int(count) >= 1
            assert math.log(count) >= step.entropy_after - 1e-5, (
                "so many candidates cannot be more uncertain than alike"
            )
            left = [other for other in step.alternatives if other.prob_after > 0]
            assert count >= len(left)
            if step.temperature == 1:
                assert mass >= sum(other.prob for other in left) - 1e-5
        assert any(step.channel["kept_mass"] < 1 for step in trace.steps), trace.policy
        shown = dict(figures(trace.shown_steps, 1.0, trace.stop, spec))
        assert "mean kept mass" in shown
        assert shown["mean candidates"].endswith(" tokens")


def test_a_lane_that_cuts_nothing_says_nothing_beside_one_that_does(parts: Parts) -> None:
    for trace in decoded(parts, (*WHOLE, "min-p")):
        cuts = trace.policy.startswith("fixed") and "min_p=0.0," not in trace.policy
        assert all((NAMES[0] in step.channel) == cuts for step in trace.steps), trace.policy
