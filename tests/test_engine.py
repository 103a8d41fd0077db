"""The engine: equal to the naive loop, indifferent to company, stoppable, and honest in what it records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from models.language_model import LanguageModel
from playground.decoding import engine
from playground.decoding.distribution import Distribution
from playground.decoding.policies.base import Head, Resources
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.trace import Finished, LaneStep, Request, Started, Trace
from playground.errors import PlaygroundError
from tests.naive import naive
from tests.tiny_lm import TinyLM

POLICIES = catalogue({"adaptive-token": "uniform", "adaptive-sequence": "reply"})
GRID = (0.0, 0.4, 0.8, 1.2)
PROMPT = Request("Tell me about the sea.", seed=7, max_tokens=40)


def head(name: str) -> Head:
    """Uniform heads of TinyLM, one a level; "nan" predicts no number."""
    level = "sequence" if name == "reply" else "token"
    value = float("nan") if name == "nan" else -math.log(len(GRID))
    grid = (float("nan"),) * 4 if name == "nan" else GRID
    return Head(
        f"{name}@0",
        level,
        grid,
        lambda h: torch.full((len(h), 4), -math.log(4.0) if name == "nan" else value).double(),
        (0.1, 0.2, 0.3, 0.4),
    )


def run(model: TinyLM | LanguageModel, specs: Sequence[str], request: Request = PROMPT) -> tuple[Trace, ...]:
    rows = engine.rows_of(request, [POLICIES.parse(spec) for spec in specs])
    events = list(engine.stream(model, request, rows, Resources(head)))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    for lane, trace in enumerate(events[-1].traces):
        streamed = [s.step for event in events[1:-1] for s in event if s.lane == lane]  # type: ignore[union-attr]
        assert [s.token_id for s in streamed] == list(trace.token_ids)
    return events[-1].traces


@pytest.mark.parametrize(
    ("spec", "t0", "theta"), [("fixed:temperature=1.0", 1.0, 0.0), ("edt:t0=1.0,theta=0.5", 1.0, 0.5)]
)
def test_equals_the_naive_loop_on_tiny_lm(tiny: TinyLM, spec: str, t0: float, theta: float) -> None:
    for seed in range(5):
        (trace,) = run(tiny, [spec], replace(PROMPT, seed=seed))
        assert list(trace.token_ids) == naive(tiny, PROMPT.prompt, trace.policy, seed, 40, t0, theta)


@pytest.mark.parametrize(
    ("spec", "t0", "theta"), [("fixed:temperature=0.8", 0.8, 0.0), ("edt:t0=1.0,theta=0.5", 1.0, 0.5)]
)
def test_equals_the_naive_loop_on_the_embedded_model(
    embedded_model: LanguageModel, spec: str, t0: float, theta: float
) -> None:
    request = replace(PROMPT, max_tokens=24)
    (trace,) = run(embedded_model, [spec], request)
    assert list(trace.token_ids) == naive(embedded_model, request.prompt, trace.policy, 7, 24, t0, theta)


def test_company_and_order_of_lanes_change_nothing_to_the_last_bit(embedded_model: LanguageModel) -> None:
    request = replace(PROMPT, max_tokens=24)
    specs = [
        "fixed:temperature=0.9",
        "edt:t0=1.1,theta=0.5",
        "fixed:temperature=0,top_k=5",
        "fixed:temperature=0.7,top_p=0.9",
    ]
    together = run(embedded_model, specs, request)
    backwards = run(embedded_model, specs[::-1], request)[::-1]
    assert [t.id for t in together] == [t.id for t in backwards]
    for spec, trace in zip(specs, together, strict=True):
        assert run(embedded_model, [spec], request)[0].id == trace.id


def test_zero_is_greedy_for_every_filter(tiny: TinyLM) -> None:
    greedy = naive(tiny, PROMPT.prompt, "", 0, 40, 0, greedy=True)
    for extra in ("", ",top_k=3", ",top_p=0.5", ",min_p=0.2", ",typical_p=0.3", ",eta_cutoff=0.1", ",top_n_sigma=1.0"):
        (trace,) = run(tiny, [f"fixed:temperature=0{extra}"])
        assert list(trace.token_ids) == greedy
        assert {s.entropy_after for s in trace.steps} == {0.0}
        assert {s.logprob_drawn for s in trace.steps} == {0.0}


@pytest.mark.slow
def test_equals_transformers_greedy_generate_on_twenty_prompts(embedded_model: LanguageModel) -> None:
    from playground.gallery import load_gallery

    for prompt in load_gallery()[:20]:
        request = Request(prompt.prompt, prompt.system, prompt.prefill, max_tokens=16)
        (trace,) = run(embedded_model, ["fixed:temperature=0"], request)
        ids = torch.tensor([trace.prompt_ids])
        theirs = embedded_model.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16, pad_token_id=2
        )
        assert theirs[0, ids.shape[1] :].tolist() == list(trace.token_ids)


@pytest.mark.parametrize("prefill", ["The capital is", "The capital is ", "The capital is  ", "", " "])
def test_the_blank_at_the_end_of_a_beginning_is_in_the_reply_and_only_there(
    embedded_model: LanguageModel, prefill: str
) -> None:
    request = Request("What is the capital of France?", None, prefill, max_tokens=4)
    (trace,) = run(embedded_model, ["fixed:temperature=0"], request)
    whole = embedded_model.decode([*trace.prompt_ids, *trace.token_ids])
    assert whole.endswith("assistant\n" + request.begun + trace.text)
    assert (request.begun, trace.text[:1]) == (("The capital is", " ") if prefill.strip() else ("", "T"))


def test_replicas_differ_and_shared_noise_makes_them_equal(tiny: TinyLM) -> None:
    a, b = run(tiny, ["fixed", "fixed"])
    assert (a.replica, b.replica) == (0, 1)
    assert a.token_ids != b.token_ids
    a, b = run(tiny, ["fixed", "fixed"], replace(PROMPT, noise="shared"))
    assert a.token_ids == b.token_ids


def test_sampling_the_temperature_leaves_the_token_noise_alone(tiny: TinyLM) -> None:
    (trace,) = run(tiny, ["adaptive-token:select=sample"])
    assert len({s.temperature for s in trace.steps}) > 1
    assert all(s.grid_index is not None and s.temperature == GRID[s.grid_index] for s in trace.steps)
    assert trace.checkpoint == "uniform@0"
    assert trace.grid == GRID
    stream = engine.rows_of(PROMPT, [POLICIES.parse("adaptive-token:select=sample")])[0].stream("token")
    first = torch.rand(1, dtype=torch.float64, generator=stream)
    now = Distribution(tiny.prefill(list(trace.prompt_ids))[0].logits)
    heat = torch.tensor([trace.steps[0].temperature], dtype=torch.float64)
    assert trace.steps[0].token_id == int(now.tempered(heat).draw(first))


def test_sequence_level_keeps_one_temperature_and_draws_replicas_without_replacement(tiny: TinyLM) -> None:
    spec = "adaptive-sequence:select=sample"
    firsts = []
    for seed in range(40):
        traces = run(tiny, [spec] * 4, replace(PROMPT, seed=seed, max_tokens=3))
        heats = [{s.temperature for s in t.steps} for t in traces]
        assert all(len(heat) == 1 for heat in heats)
        assert sorted(heat.pop() for heat in [set(h) for h in heats]) == list(GRID)
        firsts.append(traces[0].steps[0].temperature)
        alone = run(tiny, [spec], replace(PROMPT, seed=seed, max_tokens=3))[0]
        assert alone.id == traces[0].id
    assert {GRID.index(t) for t in firsts} == {0, 1, 2, 3}


def test_shuffled_permutes_the_temperatures_of_another_lane(tiny: TinyLM) -> None:
    request = replace(PROMPT, stop=())
    edt, control = run(TinyLM(end_bias=-99.0), ["edt:t0=1.2", "shuffled:of=1"], request)
    heat, placebo = [s.temperature for s in edt.steps], [s.temperature for s in control.steps]
    assert sorted(heat) == sorted(placebo)
    assert heat != placebo
    backwards = run(TinyLM(end_bias=-99.0), ["shuffled:of=2", "edt:t0=1.2"], request)
    assert sorted(s.temperature for s in backwards[0].steps) == sorted(heat)


def test_shuffled_alone_draws_from_the_cards_histogram(tiny: TinyLM) -> None:
    (trace,) = run(TinyLM(end_bias=-99.0), ["shuffled"], replace(PROMPT, max_tokens=1500))
    shares = [sum(s.temperature == t for s in trace.steps) / 1500 for t in GRID]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.05)


@pytest.mark.parametrize("spec", ["shuffled:of=1", "shuffled:of=3"])
def test_shuffled_of_itself_or_of_nothing_is_refused(tiny: TinyLM, spec: str) -> None:
    with pytest.raises(PlaygroundError, match="another lane that decides by itself"):
        run(tiny, [spec, "fixed"])


def test_recorded_figures_are_those_of_the_distributions(tiny: TinyLM) -> None:
    (trace,) = run(tiny, ["edt:t0=1.3,theta=0.2,top_k=20"])
    ids = list(trace.prompt_ids)
    for step in trace.steps:
        p = torch.softmax(tiny.prefill(ids)[0].logits[0].double(), -1)
        h = -float((p * p.log()).sum())
        assert step.entropy == pytest.approx(h, rel=1e-6)
        assert step.temperature == pytest.approx(1.3 * 0.8 ** (0.2 / h), rel=1e-6)
        assert step.logprob == pytest.approx(math.log(float(p[step.token_id])), rel=1e-5)
        q = torch.softmax(p.log() / step.temperature, -1)
        q = torch.where(q >= q.topk(20).values[-1], q, 0.0)
        q = q / q.sum()
        assert step.logprob_drawn == pytest.approx(math.log(float(q[step.token_id])), rel=1e-5, abs=1e-7)
        assert step.entropy_after == pytest.approx(-float(torch.xlogy(q, q).sum()), rel=1e-5)
        for alternative in step.alternatives:
            assert alternative.prob == pytest.approx(float(p[alternative.id]), rel=1e-5)
            assert alternative.prob_after == pytest.approx(float(q[alternative.id]), rel=1e-5)
        ids.append(step.token_id)
    assert trace.order == ("temperature", "top_k")


def test_texts_join_to_the_decoded_text_and_the_end_token_is_the_last_step() -> None:
    ended = 0
    for seed in range(12):
        model = TinyLM(seed=seed, end_bias=1.0, sharpness=1.0)
        model.bias[128:256] += 6.0  # bytes of half characters everywhere
        (trace,) = run(model, ["fixed"], replace(PROMPT, seed=seed, max_tokens=60))
        assert "".join(s.text for s in trace.steps) == trace.text == model.decode(trace.token_ids)
        if trace.stop == "end":
            ended += 1
            assert trace.steps[-1].token_id in model.end_ids
            assert trace.steps[-1].text == ""
            assert trace.shown_steps == trace.steps[:-1]
    assert ended


def test_a_reply_ends_with_the_token_that_completes_a_stop_string(tiny: TinyLM) -> None:
    (free,) = run(tiny, ["fixed"])
    stop = free.text[10:13]
    (trace,) = run(tiny, ["fixed"], replace(PROMPT, stop=("never seen", stop)))
    assert trace.stop == "stop_string"
    assert trace.text == free.text[: free.text.index(stop) + len(stop)]


def test_closing_stops_the_work_within_one_step(tiny: TinyLM) -> None:
    rows = engine.rows_of(PROMPT, [POLICIES.parse("fixed")])
    events = engine.stream(tiny, PROMPT, rows, Resources(head))
    started = next(events)
    steps: list[LaneStep] = [*next(events), *next(events)]  # type: ignore[misc]
    events.close()  # type: ignore[attr-defined]
    assert tiny.steps <= 2
    assert isinstance(started, Started)
    partial = started.traces[0].with_steps([s.step for s in steps], "cancelled")
    assert Trace.from_record(partial.to_record()) == partial


def test_a_long_prompt_is_one_event_a_piece_and_closing_stops_at_the_next(tiny: TinyLM) -> None:
    tiny.piece = 8
    pieces = len(tiny.begin(tiny.encode_chat(PROMPT.prompt))[1])
    rows = engine.rows_of(PROMPT, [POLICIES.parse("fixed")])
    read = list(engine.stream(tiny, PROMPT, rows, Resources(head)))
    assert pieces == 3
    assert read[1:pieces] == [()] * (pieces - 1)
    assert read[pieces] != ()
    events = engine.stream(tiny, PROMPT, rows, Resources(head))
    before = tiny.steps
    assert isinstance(next(events), Started)
    assert next(events) == next(events) == ()  # before the second piece, before the third
    events.close()  # type: ignore[attr-defined]
    assert tiny.steps == before + 2


def test_a_temperature_that_is_no_number_ends_the_run_with_one_sentence(tiny: TinyLM) -> None:
    with pytest.raises(PlaygroundError, match="chose the temperature nan at token 0"):
        run(tiny, ["adaptive-token:checkpoint=nan"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": " \n"}, "must not be empty"),
        ({"prompt": "a\x00b"}, "control characters"),
        ({"prompt": "a\x1b[31mb"}, "control characters"),
        ({"prefill": "\ud800"}, "control characters"),
        ({"seed": -1}, "whole number from 0"),
        ({"max_tokens": 0}, "at least 1"),
        ({"stop": ("",)}, "must not be an empty string"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(tiny: TinyLM, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(PlaygroundError, match=sentence):
        run(tiny, ["fixed"], replace(PROMPT, **change))  # type: ignore[arg-type]


def test_the_context_limits_the_reply() -> None:
    model = TinyLM(end_bias=-99.0)
    model.context_length = len(model.encode_chat(PROMPT.prompt)) + 5
    (trace,) = run(model, ["fixed"])
    assert len(trace.steps) == 5
    assert trace.stop == "length"


def test_a_lane_that_waits_for_another_is_timed_from_its_own_start(
    tiny: TinyLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: float(tiny.steps))  # the clock counts the model's steps
    donor, follower = run(tiny, ["edt", "shuffled:of=1"])
    for trace in (donor, follower):
        assert trace.timings["decode_seconds"] == len(trace.steps) - 1


def test_the_first_event_says_of_every_lane_what_the_last_one_does(tiny: TinyLM) -> None:
    specs = ["adaptive-token", "edt:top_p=0.9", "shuffled:of=1,top_k=5"]
    events = list(
        engine.stream(tiny, PROMPT, engine.rows_of(PROMPT, [POLICIES.parse(s) for s in specs]), Resources(head))
    )
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    for early, late in zip(first.traces, last.traces, strict=True):
        assert early.with_steps(late.steps, late.stop).id == late.id
    assert first.traces[2].order == ("temperature", "top_k")
