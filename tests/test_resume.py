"""A training that is killed and started again ends with the very weights of one that was not."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.adaptive_decoder import AdaptiveDecoder
from playground.errors import PlaygroundError
from playground.training.fit import Fit, Recipe, fit
from playground.training.resume import Resume
from tests.graded import votes, write
from tests.test_train import planted

ROOT = Path(__file__).parent.parent
QUICK = Recipe(beta=0.5, learning_rate=3e-3, dropout=0.3, epochs=8, patience=8, batch=16, samples=2)


class KilledError(Exception):
    """What stands for a kill inside one process."""


def weights(decoder: AdaptiveDecoder) -> list[torch.Tensor]:
    return list(decoder.state_dict().values())


def same(first: Fit, second: Fit) -> bool:
    pairs = zip(weights(first.decoder), weights(second.decoder), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and first.curve == second.curve


@pytest.mark.parametrize("epochs", [1, 4, 8])
def test_a_fit_cut_after_any_epoch_ends_with_the_same_bits(tmp_path, epochs):
    whole = fit(planted(), 4, QUICK, quiet=True)
    state = Resume(tmp_path / ".head.training", "this")

    def kill(epoch):
        if epoch.epoch + 1 == epochs:
            raise KilledError

    with pytest.raises(KilledError):
        fit(planted(), 4, QUICK, progress=kill, resume=state, quiet=True)
    seen = []
    assert same(whole, fit(planted(), 4, QUICK, progress=seen.append, resume=state, quiet=True))
    assert [epoch.epoch for epoch in seen] == list(range(epochs, 8))


def after(calls: int) -> Callable[[], bool]:
    """Says stop from its `calls`-th call on."""
    asked = itertools.count(1)
    return lambda: next(asked) >= calls


BATCHES = 4  # of an epoch: 64 training pairs, 16 a batch
STOPPED_IN = [(3, 2), (3, BATCHES), (1, BATCHES + 1)]  # epoch counted from 1, batch of it before which it is stopped


@pytest.mark.parametrize(("epoch", "batch"), STOPPED_IN)
@pytest.mark.parametrize("parts", [{}, {"batch": 4, "accumulate": 4, "token_weights": "sparse"}])
def test_a_stop_within_an_epoch_keeps_what_was_best_before_it(epoch, batch, parts):
    recipe, seen = replace(QUICK, **parts), []
    calls = ((epoch - 1) * BATCHES + batch) * (16 // recipe.batch)
    stopped = fit(planted(), 4, recipe, progress=seen.append, stop=after(calls), quiet=True)
    whole = (calls - 1) // (BATCHES * 16 // recipe.batch)
    assert len(seen) == whole
    assert stopped.stopped
    assert same(stopped, fit(planted(), 4, replace(recipe, epochs=whole), quiet=True))


@pytest.mark.parametrize(("epoch", "batch"), [(1, 2), *STOPPED_IN])
def test_a_fit_stopped_within_an_epoch_goes_on_to_the_same_bits(tmp_path, epoch, batch):
    whole = fit(planted(), 4, QUICK, quiet=True)
    state = Resume(tmp_path / ".head.training", "this")
    with contextlib.suppress(PlaygroundError):
        fit(planted(), 4, QUICK, stop=after((epoch - 1) * BATCHES + batch), resume=state, quiet=True)
    seen = []
    assert same(whole, fit(planted(), 4, QUICK, progress=seen.append, resume=state, quiet=True))
    assert seen[0].epoch == ((epoch - 1) * BATCHES + batch - 1) // BATCHES, "the unfinished epoch is done again"


def test_a_stop_within_the_first_epoch_leaves_nothing(tmp_path):
    state = Resume(tmp_path / ".head.training", "this")
    for calls in (1, 2, BATCHES):
        with pytest.raises(PlaygroundError, match="before its first epoch"):
            fit(planted(), 4, QUICK, stop=after(calls), resume=state, quiet=True)
    assert not state.path.exists()


def test_the_state_of_another_training_or_a_damaged_one_is_not_taken_up(tmp_path):
    whole = fit(planted(), 4, QUICK, quiet=True)
    path = tmp_path / ".head.training"
    fit(planted(), 4, replace(QUICK, seed=5), resume=Resume(path, "other"), quiet=True)
    assert Resume(path, "this").load() is None
    assert same(whole, fit(planted(), 4, QUICK, resume=Resume(path, "this"), quiet=True))
    path.write_bytes(b"damaged")
    assert same(whole, fit(planted(), 4, QUICK, resume=Resume(path, "this"), quiet=True))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_started_again_ends_with_the_same_weights(tiny, tmp_path):
    data = write(tmp_path / "votes.jsonl", votes(tiny, "token", 12))
    command = [sys.executable, "-m", "tests.train_runner", str(data)]
    features = str(tmp_path / "features")

    def start(folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, str(tmp_path / folder), features], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0
        )

    with start("whole") as unbroken, start("killed") as victim:
        assert victim.stdout is not None
        while victim.stdout.readline() != b"5\n":
            assert victim.poll() is None, "the training ended before it was killed"
        victim.kill()
        assert unbroken.stdout is not None
        *epochs, digest = unbroken.stdout.read().split()
    assert len(epochs) == 40
    assert (tmp_path / "killed" / ".head.training").is_file()
    assert not (tmp_path / "killed" / "head.safetensors").exists()
    with start("killed") as again:
        assert again.stdout is not None
        *rest, second = again.stdout.read().split()
    assert 0 < len(rest) <= 34  # it went on, and did not begin anew
    assert second == digest
    assert not (tmp_path / "killed" / ".head.training").exists()
