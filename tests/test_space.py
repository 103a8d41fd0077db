"""The folder for a Space: complete, pinned to what ZeroGPU runs, and never written over something."""

from __future__ import annotations

from pathlib import Path

import pytest

from playground import space
from playground.errors import PlaygroundError

ROOT = Path(space.__file__).resolve().parent.parent


def test_the_folder_holds_everything_the_app_reads(tmp_path: Path) -> None:
    out = tmp_path / "new" / "space"
    space.write(out)
    for folder in ("models", "playground", "static"):
        ours = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        assert {p.relative_to(out) for p in (out / folder).rglob("*") if p.is_file()} == ours
    assert (out / "app.py").read_bytes() == (ROOT / "app.py").read_bytes()
    assert (out / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_torch_is_zero_gpus_and_gradio_is_the_cards(tmp_path: Path) -> None:
    space.write(tmp_path)
    lines = (tmp_path / "requirements.txt").read_text().split()
    assert "torch==2.11.0" in lines
    assert "spaces" in lines
    assert not [line for line in lines if line.startswith("gradio==")]
    pinned = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1].isalpha()]
    others = {line for line in pinned if not line.startswith(("torch==", "gradio=="))}
    assert others <= set(lines)
    (version,) = [line.removeprefix("gradio==") for line in pinned if line.startswith("gradio==")]
    assert f"sdk_version: {version}\n" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(PlaygroundError, match="must be a new or an empty folder"):
        space.write(tmp_path)
    with pytest.raises(PlaygroundError, match="must be a new or an empty folder"):
        space.write(tmp_path / "mine.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaygroundError, match="must be a folder that can be written"):
        space.write(tmp_path / "file" / "space")
