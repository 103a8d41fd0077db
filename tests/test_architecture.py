"""The directions of imports, read from the source: which folder may know which, and which package is kept where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = ("models", "playground")
ANYTHING = ("models", "playground")

# place: (what it may import of ours, which packages it may not import at all); the first fitting prefix holds
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "playground.decoding.trace": ((), ("torch", "sqlalchemy", "gradio", "transformers", "os")),
    "playground.decoding": (
        ("playground.decoding", "playground.errors"),
        ("gradio", "sqlalchemy", "transformers", "plotly", "os", "pathlib", "subprocess", "glob"),
    ),
    "playground.records": (("playground.decoding.trace",), ("torch", "sqlalchemy", "gradio", "transformers")),
    "models": (("models",), ("gradio", "sqlalchemy", "plotly")),
    "playground.feedback": (
        ("playground.feedback", "playground.records", "playground.decoding.trace", "playground.errors"),
        ("torch", "gradio", "transformers", "plotly"),
    ),
    "playground.training.evaluation.report": (
        ("playground.training", "playground.decoding.counts"),
        ("gradio", "sqlalchemy", "torch"),
    ),
    "playground.training": (
        (
            "playground.training",
            "playground.decoding",
            "playground.analysis",  # rewards are its measures
            "models",
            "playground.records",
            "playground.config",
            "playground.errors",
        ),
        ("gradio", "sqlalchemy", "plotly"),
    ),
    "playground.analysis": (
        ("playground.analysis", "playground.decoding", "models", "playground.records", "playground.errors"),
        ("gradio", "sqlalchemy", "plotly"),
    ),
    "playground.ui.render": (("playground",), ("torch", "gradio", "sqlalchemy", "transformers")),
    "playground.ui": (("playground",), ("sqlalchemy", "transformers")),
    "playground": (ANYTHING, ("gradio", "plotly", "sqlalchemy")),
}


def modules() -> dict[str, ast.Module]:
    """Every module of the code by its dotted name, parsed."""
    found = {}
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(tree: ast.AST, at_runtime_start: bool = False) -> Iterator[str]:
    """Dotted names that are imported; `at_runtime_start` leaves out functions and TYPE_CHECKING blocks."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)
        elif at_runtime_start and (
            isinstance(node, ast.FunctionDef)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            continue
        else:
            yield from imports(node, at_runtime_start)


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def test_the_table_covers_every_module() -> None:
    assert len(MODULES) > 40
    assert {"playground.decoding.engine", "models.language_model", "playground.ui.page"} <= set(MODULES)
    assert all(any(within(name, (place,)) for place in RULES) for name in MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_folder_may(name: str) -> None:
    ours, never = next(rule for place, rule in RULES.items() if within(name, (place,)))
    for imported in set(imports(MODULES[name])):
        if within(imported, CODE):
            assert within(imported, ours), f"{name} may not import {imported}"
        assert not within(imported, never), f"{name} may not import {imported}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        name: {
            imported for imported in imports(tree, at_runtime_start=True) if imported in MODULES and imported != name
        }
        for name, tree in MODULES.items()
    }
    assert sum(map(len, graph.values())) > 80
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("name", MODULES)
def test_no_function_writes_a_global(name: str) -> None:
    assert not [node.lineno for node in ast.walk(MODULES[name]) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("path", [path for folder in CODE for path in (ROOT / folder).rglob("__init__.py")], ids=str)
def test_a_package_holds_only_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "states the folder's rule"
    assert len(tree.body) == 1


def test_only_settings_and_the_entries_read_the_environment() -> None:
    """The environment is injected: `os.environ` stands in the signature of the command line and nowhere else."""
    readers = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    }
    assert readers <= {"playground.__main__"}


def test_no_file_names_a_place_of_one_machine() -> None:
    places = re.compile(r"(?<![\w.}/])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me")) + r")/\w")
    suffixes = {".py", ".md", ".toml", ".txt", ".json", ".js", ".css", ".yml", ".yaml", ".cfg", ".html"}
    checked = 0
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.suffix not in suffixes or parts[0] in ("out", ".git", ".venv") or "cache" in path.as_posix().lower():
            continue
        checked += 1
        assert not places.search(path.read_text(encoding="utf-8")), path
    assert checked > 80
