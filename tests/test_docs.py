"""The README's tree and tables against the code, so that they cannot rot."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

from playground.config import Settings
from playground.decoding.sampling import FILTER_ORDER
from playground.methods import table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    return README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]


def first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s(?=[A-Z`])", paragraph, maxsplit=1)[0].rstrip(".:")


def tree() -> list[str]:
    """One line a module: its path and the first sentence of its docstring, folders before files."""
    lines = [f"{'app.py':<70}{first_sentence(ROOT / 'app.py')}"]
    for top in ("models", "playground", "benchmarks"):
        for path in sorted((ROOT / top).rglob("*.py"), key=lambda p: (p.parent.as_posix(), p.name)):
            if path.name != "__init__.py":
                lines.append(f"{path.relative_to(ROOT).as_posix():<70}{first_sentence(path)}")
    return lines


def test_the_readme_tree_is_the_tree() -> None:
    written = README.split("## What is where")[1].split("```")[1].strip().splitlines()
    assert written == tree()


def test_every_static_file_is_used() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "playground").rglob("*.py"))
    for path in (ROOT / "static").iterdir():
        assert path.stem in sources, path.name


def test_the_settings_table_lists_every_setting() -> None:
    rows = re.findall(r"^\| `(--[a-z-]+)` \| `(PLAYGROUND_[A-Z_]+)` \|", section("settings"), re.MULTILINE)
    names = [field.name for field in dataclasses.fields(Settings)]
    assert rows == [(f"--{name.replace('_', '-')}", f"PLAYGROUND_{name.upper()}") for name in names]


def test_the_policy_table_says_what_the_catalogue_says() -> None:
    assert [line for line in section("policies").splitlines() if line.startswith("|")] == table().splitlines()


def test_the_filters_are_named_in_their_order() -> None:
    text = " ".join(README.split())
    assert ", ".join(f"`{name}`" for name in FILTER_ORDER[:-1]) + f" and `{FILTER_ORDER[-1]}`" in text


def test_the_python_example_is_the_one_of_the_module() -> None:
    from playground import parts

    code = README.split("```python\n")[1].split("```")[0]
    assert all(line.strip() in (parts.__doc__ or "") for line in code.splitlines())
