"""A folder ready to push as a Hugging Face Space, pinned to what ZeroGPU accepts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from playground.errors import PlaygroundError

ROOT = Path(__file__).resolve().parent.parent
FILES = ("app.py", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md")
FOLDERS = ("models", "playground", "static")
ZERO_GPU_TORCH = "2.11.0"  # ZeroGPU runs torch 2.8.0, 2.9.1, 2.10.0 or 2.11.0


def write(out: Path) -> None:
    """Copy the app to `out` with ZeroGPU's torch and the `spaces` package pinned. Raises PlaygroundError if `out` is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PlaygroundError(f"`out` must be a new or an empty folder, got {out}.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy2(ROOT / name, out / name)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, out / name, ignore=shutil.ignore_patterns("__pycache__"))
        (out / "requirements.txt").write_text(requirements((ROOT / "requirements.txt").read_text()))
    except OSError as error:
        raise PlaygroundError(f"`out` must be a folder that can be written, got {out} ({error.strerror}).") from error


def requirements(pinned: str) -> str:
    """The run-time requirements with ZeroGPU's torch, and without gradio, which the Space's `sdk_version` installs."""
    lines = [line for line in pinned.splitlines() if not re.match(r"gradio==|#", line)]
    lines = [f"torch=={ZERO_GPU_TORCH}" if line.startswith("torch==") else line for line in lines]
    return "\n".join([*lines, "spaces"]) + "\n"
