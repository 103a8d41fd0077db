"""Models from the Hub are checked as folders are: their index decides, and a tensor that is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.small.folders import folder
from tests.damaged import IDS, changed, reference, sharded, without
from tests.hub_server import running
from tests.test_hub import python

pytestmark = pytest.mark.slow  # the models are loaded by a process of its own
LOAD = f"""
import json, sys, torch
from models.errors import ModelError
from models.loading import load_language_model
for where in sys.argv[1:]:
    for precision in ("float16", "float32"):
        try:
            model = load_language_model(where, precision=precision, threads=1)
            logits = model.score({IDS!r}[:1], {IDS!r}[1:])
            print(json.dumps([model.merges, model.revision, model.parameters, logits.tolist()]))
        except ModelError as error:
            print(json.dumps(str(error)))
"""


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_models_from_the_hub_are_their_repositories_or_one_sentence(tmp_path: Path) -> None:
    expected = [reference(folder(tmp_path / "whole"))[:-1], reference(sharded(tmp_path / "parts", seed=1))[:-1]]
    changed(tmp_path / "lacking", without("model.norm.weight"))
    gap = files(tmp_path / "parts")
    gone = sorted(name for name in gap if name.endswith(".safetensors"))[0]
    with running() as hub:
        commits = [hub.commit("org/whole", files(tmp_path / "whole"))]
        stray = {"zz-old.safetensors": files(tmp_path / "whole")["model.safetensors"]}
        commits.append(hub.commit("org/parts", files(tmp_path / "parts") | stray))
        hub.commit("org/lacking", files(tmp_path / "lacking"))
        hub.commit("org/gap", {name: content for name, content in gap.items() if name != gone})
        names = ("org/whole", "org/parts", "org/lacking", "org/gap")
        done = python(tmp_path / "home", hub.endpoint, "-c", LOAD, *names)
        assert not [line for line in hub.asked if "zz-old" in line]
    assert done.returncode == 0, done.stderr
    *good, lacking, also_lacking, without_shard, also_without = map(json.loads, done.stdout.splitlines())
    for number, (merges, revision, parameters, logits) in enumerate(good):
        assert merges == (number % 2 == 0)
        assert revision == commits[number // 2]
        assert parameters == good[0][2]
        torch.testing.assert_close(torch.tensor(logits), expected[number // 2], atol=0.05, rtol=0.01)
    for sentence in (lacking, also_lacking):
        assert "lacks the tensor model.norm.weight" in sentence
    for sentence in (without_shard, also_without):
        assert f"names {gone} for " in sentence
        assert "but there is no such file" in sentence
