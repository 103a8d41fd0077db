"""Sentences to whoever reads them: the page names no flag, the command line no field, and one of a thing is one."""

from __future__ import annotations

import ast
import re
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import ModelError
from playground.decoding.counts import several
from playground.decoding.decoders import difficulty_router, entropy_switch, long_horizon
from playground.decoding.policies import forking
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.request import checked_request
from playground.decoding.trace import Request
from playground.errors import PlaygroundError
from playground.methods import named
from playground.terminal import figures as in_a_terminal
from playground.terminal import label
from playground.training.exclusions import counting, nothing
from playground.training.lpo import LOSSES
from playground.ui.heading import Heading
from playground.ui.page import model_line
from playground.ui.render import figures
from playground.ui.training_view import counted, made, usable
from tests.samples import make_trace
from tests.scripted import step
from tests.test_architecture import MODULES, within

SERVED = (  # whose errors a visitor can meet
    "playground.decoding", "playground.ui", "playground.predictors", "playground.shelf", "playground.zero_gpu",
    "playground.training.exclusions", "playground.training.epochs", "playground.training.pairs",
    "models.pairing", "models.tuned_lens", "models.language_model", "models.chat",
)  # fmt: skip
COMMAND_LINE = re.compile(r"--[a-z]|python -m")
FIELDS = re.compile(r"under “|the page|gallery|button|\bbox\b|\btab\b")
ELSEWHERE = (
    "playground.ui.lanes",
    "playground.ui.operators",
    "playground.ui.gate",
)  # they send a visitor to the command line


def refusals() -> list[tuple[str, list[str]]]:
    """Every error that is raised: its module, and its sentences as they stand in the code."""
    found = []
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("PlaygroundError", "ModelError"):
                found.append((name, [ast.unparse(given) for given in node.args]))
    return found


def test_no_sentence_on_the_page_names_a_flag_and_none_in_a_terminal_a_field() -> None:
    served = [(name, given) for name, given in refusals() if within(name, SERVED) and name not in ELSEWHERE]
    assert len(served) > 60
    assert sum(len(given) > 1 for _, given in served) >= 8
    for name, given in served:
        assert not COMMAND_LINE.search(given[-1]), (name, given[-1])
    for name, given in refusals():
        if not within(name, ("playground.ui", "playground.training_job")):
            assert not FIELDS.search(given[0]), (name, given[0])


TRAINED = tuple(f"playground.training.{name}" for name in ("exclusions", "features", "fit", "train", "epochs", "jobs"))


def test_no_sentence_on_the_train_tab_names_a_flag_or_a_word_of_the_command_line() -> None:
    files = "Preferences must"  # say which file and line
    said = [given[-1] for name, given in refusals() if within(name, (*TRAINED, "playground.training_job"))]
    assert len(said) > 15
    for sentence in said:
        assert files in sentence or not re.search(r"`|--[a-z]|\bdata\b", sentence), sentence


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss", LOSSES)
def test_who_has_no_vote_that_counts_is_told_which_would_in_the_words_of_the_count(level: str, loss: str) -> None:
    dropped = {"no temperature from a grid": 8, "undecided": 1}
    data = {"votes": 9, "usable": {level: {loss: {"votes": 0, "prompts": 0, "dropped": dropped}}}}
    refused, counted = nothing(dropped, level, loss), usable(data, level, loss)
    for told in (refused.page, counted):
        assert "no temperature from a grid (8), ties and both bad (1)" in told
        assert told.endswith(f"{counting(level, loss)}.")
    assert "--loss" in str(refused)


def test_no_refusal_that_quotes_what_was_typed_names_a_file() -> None:
    """faults.sentence shows it as it stands; an error that may name files is a FaultError, or raised from another."""
    causes = ("playground.shelf",)  # raised from an OSError
    for name, given in refusals():
        if within(name, SERVED) and name not in causes:
            assert not re.search(r"\{[^}]*(?:path|folder|file(?:name)?)\b[^}]*\}", given[-1]), (name, given[-1])


def test_an_error_has_one_sentence_for_the_page_and_one_for_the_command_line() -> None:
    for kind in (PlaygroundError, ModelError):
        assert (str(kind("A.")), kind("A.").page) == ("A.", "A.")
        assert (str(kind("A.", "B.")), kind("A.", "B.").page) == ("A.", "B.")
    with pytest.raises(PlaygroundError) as refused:
        checked_request(Request("Hello.", prefill="\x07"))
    assert "`prefill`" in str(refused.value)
    assert refused.value.page.startswith("The beginning of the reply must")


def test_one_of_a_thing_is_one() -> None:
    assert [several(n, "reply", "replies") for n in (0, 1, 2)] == ["0 replies", "1 reply", "2 replies"]
    one = [step(0, "a", channel={"ess": 1.0, "forking": 1.0, "author": 1.0, "cost": 1.0, "fed": 1.0})]
    said = [
        long_horizon.note({"particles": 1, "proposal": "base", "temperature": 0.7}, one),
        long_horizon.note({"particles": 4, "proposal": "base", "temperature": 1.0}, one),
        forking.share({"high": 1.0, "low": 0.3}, one),
        entropy_switch.note({}, one),
        in_a_terminal(make_trace(1, 1)),
        counted({"votes": 1, "sources": {}, "excluded": {}}),
        usable(
            {"votes": 1, "usable": {"token": {"nll": {"votes": 1, "prompts": 1, "dropped": {}}}}}, "token", "nll"
        ),
        made({"held_out_accuracy": 1.0, "held_out_pairs": 1, "train_pairs": 1, "stopped": False, "name": "x", "epoch": 1}),
    ]  # fmt: skip
    for sentence in said:
        assert not re.search(r"\b1 \S*(?:\w+ )?\w+s\b(?! (?:is|at|wei))", sentence.replace("tokens/s", "")), sentence


def test_a_range_of_one_value_is_one_value() -> None:
    from dataclasses import replace

    steps = [replace(step(0, "a"), temperature=1.0), replace(step(1, "b"), temperature=1.001)]
    assert dict(figures(steps, 1.0, "end"))["range"] == "1.00"
    trace = make_trace(1, 2)
    assert "T 0.70," in in_a_terminal(trace.with_steps([replace(s, temperature=0.7) for s in trace.steps], "end"))


@pytest.mark.parametrize(
    ("spec", "title", "knobs"),
    [
        ("fixed", "Fixed temperature", "temperature=1.0"),
        ("fixed:temperature=0", "Fixed temperature", "temperature=0.0"),
        ("min-p:p=0.05", "Min-p", "p=0.05, temperature=1.0"),
        ("min-p:temperature=0.7", "Min-p", "p=0.1, temperature=0.7"),
        ("top-n-sigma", "Top-nσ", "n=1.0, temperature=1.0"),
        ("typical:p=0.9", "Locally typical sampling", "p=0.9, temperature=1.0"),
        ("eta", "Eta sampling", "cutoff=0.0003, temperature=1.0"),
        ("fixed:min_p=0.1,top_k=5", "Fixed temperature", "temperature=1.0, top_k=5, min_p=0.1"),
        ("edt", "EDT: temperature from entropy", "t0=1.0, theta=1.0"),
        ("target-entropy:nats=1.5", "Target entropy: the same uncertainty at every token", "nats=1.5, low=0.01, high=1.2"),
        ("shuffled:of=1", "Shuffled control", "of=1"),
        ("shuffled", "Shuffled control", ""),
        ("quadrants:mist=1.5", "Quadrants: entropy and varentropy", "mist=1.5"),
        ("long-horizon:particles=1", "Long horizon", "temperature=0.7, particles=1, block=8"),
    ],
)  # fmt: skip
def test_a_lane_is_called_what_was_chosen_and_says_its_numbers(spec: str, title: str, knobs: str) -> None:
    parsed = catalogue({}).parse(spec)
    assert named(parsed) == (title, knobs)
    record = Heading(parsed).to_record()
    assert (record["title"], record["short"]) == (title, knobs)
    assert label(str(parsed)) == (f"{title}: {knobs}" if knobs else title)
    assert label("of other days:x=1") == "of other days:x=1"


@pytest.mark.parametrize(
    ("preset", "share"), [("easy", "at most 0.4 of"), ("normal", "the whole"), ("hard", "at most 0.5 of")]
)
def test_the_router_says_its_class_and_what_that_did(preset: str, share: str) -> None:
    shares = {name: 0.8 if name == preset else 0.1 for name in difficulty_router.CLASSES}
    sentence = difficulty_router.note({"preset": "auto"}, [step(0, "a", channel=shares)])
    assert sentence.startswith(f"The probe takes this prompt for {preset} (P = 0.80): T = 0.")
    assert f"{share} length asked for" in sentence.replace("of the length", "of length")
    by_hand = difficulty_router.note({"preset": preset}, [step(0, "a")])
    assert by_hand.startswith(f"Preset {preset}, chosen by hand: T = 0.")
    assert catalogue({}).parse("difficulty-router").kind.note is difficulty_router.note


def test_a_precision_says_its_bits_and_a_revision_is_cut_only_where_it_is_a_hash() -> None:
    def line(revision: str, precision: str) -> str:
        model: Any = SimpleNamespace(name="m", revision=revision, precision=precision)
        return model_line(SimpleNamespace(language_model=model))  # type: ignore[arg-type]

    assert "revision Q4_1-gguf-b1-and-more ·" in line("Q4_1-gguf-b1-and-more", "gguf")
    assert "4-bit blocks" in line("r0", "gguf")
    assert "revision 0123456789ab ·" in line("0123456789abcdef0123456789abcdef01234567", "float32")
    assert dict(figures([step(0, "a")], 1.0, "end", precision="gguf"))["precision"] == "gguf, 4-bit blocks"
