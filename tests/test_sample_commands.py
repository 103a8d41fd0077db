"""The flags of `sample`: which go together, refused before a model is loaded."""

import argparse

import pytest

from playground.errors import PlaygroundError
from playground.training.labels.sample_commands import add_sample_command, check


def parsed(*flags):
    parser = argparse.ArgumentParser()
    add_sample_command(parser.add_subparsers())
    return parser.parse_args(["sample", "--out", "x.jsonl", *flags])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--suite", "minimal-pairs", "--reward", "fewer-repeats"], "--reward` goes with `--prompts"),
        (["--suite", "minimal-pairs", "--max-tokens", "9"], "--max-tokens` goes with `--prompts"),
        (["--prompts", "p", "--reward", "fewer-repeats", "--sets", "2"], "--sets` goes with `--suite"),
        (["--suite", "minimal-pairs", "--level", "token"], "must be sequence"),
        (["--prompts", "p"], "--reward` must be one of"),
        (["--prompts", "p", "--reward", "fewer-repeats", "--split", "all"], "must be train, dev or test"),
    ],
)
def test_flags_of_the_other_way_are_refused(flags, says):
    with pytest.raises(PlaygroundError, match=says):
        check(parsed(*flags))


def test_each_way_is_accepted():
    check(parsed("--suite", "minimal-pairs", "--split", "all", "--each", "2", "--level", "sequence"))
    check(parsed("--prompts", "p", "--reward", "contains-answer", "--level", "token", "--n", "4"))


def test_one_of_prompts_and_suite_is_needed():
    for flags in ([], ["--prompts", "p", "--suite", "minimal-pairs"]):
        with pytest.raises(SystemExit):
            parsed(*flags)


def test_a_suite_without_its_data_is_refused_before_a_model_is_loaded(tmp_path):
    arguments = parsed("--suite", "grounded-or-varied", "--data", str(tmp_path))
    with pytest.raises(PlaygroundError, match="xquad_en_train"):
        arguments.run(arguments, {"PLAYGROUND_MODEL": "nothing/there"})
