"""Heads on the Hub: what is pushed comes back over HTTP, and what cannot be had is one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from models.adaptive_decoder import AdaptiveDecoder
from models.checkpoints import SHIPPED, read, save
from models.hub import card, is_id
from models.loading import load_language_model
from models.meta import Base
from playground.config import Settings
from tests.hub_server import Hub, running
from tests.second_model import second_model
from tests.test_checkpoints import META, decoder

pytestmark = pytest.mark.slow  # every command is a process of its own
FETCH = "import sys; from models import hub; from models.errors import ModelError\ntry: print(hub.folder(sys.argv[1]))\nexcept ModelError as error: sys.exit(str(error))"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running() as hub:
        yield hub


def python(home: Path, endpoint: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=SHIPPED.parents[1],
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def fetch(home: Path, endpoint: str, where: str, **more: str) -> subprocess.CompletedProcess[str]:
    return python(home, endpoint, "-c", FETCH, where, **more)


def push(home: Path, endpoint: str, folder: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = ("-m", "playground", "push", "--checkpoints", str(folder), "--to", "org/heads", *more)
    return python(home, endpoint, *arguments, **environment)


def test_what_is_pushed_comes_back_at_its_revision(hub: Hub, tmp_path: Path) -> None:
    made = save(tmp_path / "own", "head-1", decoder(), META, "# head-1\n\nThe card.\n")
    done = push(tmp_path, hub.endpoint, tmp_path / "own", "--head", "head-1", HF_TOKEN=hub.token)
    assert done.returncode == 0, done.stderr
    where = done.stdout.strip()
    commit, files = hub.at("org/heads", "main") or ("", {})
    assert where == f"org/heads@{commit}"
    assert set(files) == {"head-1.safetensors", "head-1.json", "head-1.md", "README.md"}
    hub.commit(
        "org/heads", {"head-1.safetensors": b"another", "code.py": b"x", "model.bin": b"x", "deep/x.json": b"{}"}
    )
    folder = Path(fetch(tmp_path, hub.endpoint, where).stdout.strip())
    assert read(folder, "head-1").id == made.id
    newest = Path(fetch(tmp_path, hub.endpoint, "org/heads").stdout.strip())
    assert (newest / "head-1.safetensors").read_bytes() == b"another"
    assert {path.name for path in newest.rglob("*") if path.is_file()} == set(files)
    offline = fetch(tmp_path, hub.endpoint, where, HF_HUB_OFFLINE="1")
    assert offline.stdout.strip() == str(folder)


def test_the_readme_keeps_the_heads_of_earlier_pushes(hub: Hub, tmp_path: Path) -> None:
    for name, text in (("head-1", "First."), ("head-2", "Second."), ("head-1", "First, trained again.")):
        save(tmp_path / "own", name, decoder(), META, f"# {name}\n\n{text}\n")
        done = push(tmp_path, hub.endpoint, tmp_path / "own", "--head", name, HF_TOKEN=hub.token)
        assert done.returncode == 0, done.stderr
        hub.commit("org/heads", {"config.json": b"{}", "config.safetensors": b"x", "broken.json": b"{"})
    _, files = hub.at("org/heads", "main") or ("", {})
    readme = files["README.md"].decode()
    counts = {"# head-1\n": 1, "# head-2\n": 1, "First.": 0, "First, trained again.": 1, "Second.": 1}
    assert {text: readme.count(text) for text in counts} == counts
    assert readme.count("python -m playground generate") == 2
    assert "config" not in readme


def test_a_model_decodes_with_a_head_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    folder = second_model(tmp_path / "model")
    model = load_language_model(str(folder), precision="float32")
    base = Base.of(model)
    head = AdaptiveDecoder(model.hidden_size, 3, width=8)
    made = save(tmp_path / "own", "head-1", head, replace(META, base=base), "# card\n")
    where = push(tmp_path, hub.endpoint, tmp_path / "own", "--head", "head-1", HF_TOKEN=hub.token).stdout.strip()
    asked = ["--model", str(folder), "--precision", "float32", "--prompt", "A story.", "--max-tokens", "3", "--json"]
    places = ["--checkpoints", where, "--data-folder", str(tmp_path / "data"), "--policy", "adaptive-token"]
    done = python(tmp_path, hub.endpoint, "-m", "playground", "generate", *asked, *places)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checkpoint"] == made.id


def test_what_is_no_folder_of_heads_is_not_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.commit("org/model", {"model.safetensors": b"x"})
    hub.sizes["model.safetensors"] = 5_000_000_000
    done = fetch(tmp_path, hub.endpoint, "org/model")
    assert done.stderr.startswith("org/model holds 5.0 GB of safetensors, which are no heads; name a repository")
    assert not [line for line in hub.asked if line.startswith("GET /org/model/resolve")]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("org/none", "There is no repository org/none on http://127.0.0.1"),
        ("org/heads@v9", "org/heads has no revision 'v9'; name a branch, tag or commit of it."),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(hub: Hub, tmp_path: Path, where: str, sentence: str) -> None:
    hub.commit("org/heads", {"README.md": b"x"})
    done = fetch(tmp_path, hub.endpoint, where)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


def test_without_the_network_or_a_token_it_says_so(tmp_path: Path) -> None:
    save(tmp_path / "own", "head-1", decoder(), META, "# card\n")
    nobody = "http://127.0.0.1:9"
    assert "was not reached and nothing of it is in the cache" in fetch(tmp_path, nobody, "org/heads").stderr
    done = push(tmp_path, nobody, tmp_path / "own", "--head", "head-1")
    assert (done.returncode, done.stderr) == (
        2,
        "There is no Hugging Face token here; log in with `hf auth login` or set HF_TOKEN, and push again.\n",
    )
    done = push(tmp_path, nobody, tmp_path / "own", "--head", "head-1", HF_TOKEN="hf_right")
    assert done.returncode == 2
    assert "org/heads could not be reached on http://127.0.0.1:9" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_token_that_may_not_write_is_told_so(hub: Hub, tmp_path: Path) -> None:
    save(tmp_path / "own", "head-1", decoder(), META, "# card\n")
    done = push(tmp_path, hub.endpoint, tmp_path / "own", "--head", "head-1", HF_TOKEN="hf_wrong")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "token" in done.stderr


def test_an_unknown_head_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    done = push(tmp_path, "http://127.0.0.1:9", tmp_path, "--head", "none", HF_TOKEN="hf_right")
    assert done.returncode == 2
    assert "adaptive-token.smollm2-135m" in done.stderr


def test_the_readme_of_a_repository_has_metadata_and_every_card() -> None:
    heads = [read(SHIPPED, name) for name in ("adaptive-token.smollm2-135m", "tuned-lens.smollm2-135m")]
    text = card(heads, "org/heads")
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["base_model"] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert {"adaptive-token", "tuned-lens"} < set(metadata["tags"])
    assert all(head.card in text for head in heads)


@pytest.mark.parametrize(
    ("where", "fits"),
    [("org/name", True), ("org/name@v1.0", True), ("a/b/c", False), ("heads", False), ("../x", False), ("/a/b", False)],
)
def test_ids_are_told_from_folders(where: str, fits: bool) -> None:
    assert is_id(where) is fits


def test_a_repository_as_checkpoints_leaves_what_is_trained_here_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(checkpoints=Path("org/heads@v1"), data_folder=tmp_path)
    assert settings.hub_heads == "org/heads@v1"
    assert settings.trained_heads == tmp_path / "checkpoints"
    assert Settings(checkpoints=tmp_path).hub_heads is None
    assert Settings(checkpoints=tmp_path).trained_heads == tmp_path
    assert Settings(checkpoints=Path("heads")).hub_heads is None
