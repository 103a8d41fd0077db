"""A training with TinyLM in a process of its own, which says every epoch: python -m tests.train_runner DATA FOLDER FEATURES."""

from __future__ import annotations

import sys
from pathlib import Path

from playground.training import train
from playground.training.fit import Epoch
from tests.tiny_lm import TinyLM

RECIPE = {"epochs": 40, "patience": 40, "batch": 2, "samples": 2, "degree": 0.5, "token_weights": "sparse"}


def said(epoch: Epoch) -> None:
    print(epoch.epoch, flush=True)


if __name__ == "__main__":
    data, folder, features = map(Path, sys.argv[1:])
    recipe = train.recipe_for("token", **RECIPE)
    made = train.run(TinyLM(), [data], "token", "head", folder, features, recipe, progress=said)
    print(made.sha256, flush=True)
