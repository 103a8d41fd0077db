"""Fixtures: the embedded model once a session, parts around it in a folder of their own, TinyLM."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve a shared machine

import numpy as np
import pytest
import torch

from models.language_model import LanguageModel
from models.loading import load_language_model
from playground.compiling import compile_loops
from playground.config import Settings
from tests.tiny_lm import TinyLM

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving import Served

THREADS = 2
torch.set_num_threads(THREADS)
compile_loops()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("browser", "slow")):
            item.add_marker(pytest.mark.quick)


@pytest.fixture(autouse=True)
def _as_many_threads() -> Iterator[None]:
    """A model that is loaded for one thread leaves PyTorch with one."""
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def embedded_model() -> LanguageModel:
    """The real default model, fetched and converted where it is not cached yet."""
    return load_language_model(precision="float32", cache=Settings().cache_folder)


CAPTURED = (
    "The lighthouse keeper counted ships by their lamps. On 12 March there were seven, and then the fog came in; nobody"
)


@pytest.fixture(scope="session")
def captured(embedded_model: LanguageModel) -> tuple[np.ndarray, np.ndarray]:
    """Logits [24, V] and states [24, H] of the embedded model over a fixed text, teacher-forced, float64."""
    prompt = embedded_model.encode_chat("Tell me about the sea.")
    ids = embedded_model.encode_text(CAPTURED)[:24]
    logits, hidden = embedded_model.score(prompt, ids), embedded_model.features(prompt, ids)
    return logits.double().numpy(), hidden.double().numpy()


@pytest.fixture(scope="session")
def captured_logits(captured: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return captured[0]


@pytest.fixture(scope="session")
def captured_hidden(captured: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return captured[1]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data lie in the test's own folder."""
    return Settings(data_folder=tmp_path / "data")


@pytest.fixture
def tiny() -> TinyLM:
    return TinyLM()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for the tests of one module."""
    from playwright.sync_api import sync_playwright

    from tests.serving import CHROMIUM, FLAGS

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    """A page of its own; `problems` holds console errors, exceptions, and requests that leave the machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.problems = []
    opened.on("console", lambda m: opened.problems.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on(
        "request",
        lambda r: None if r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else opened.problems.append(r.url),
    )
    yield opened
    context.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app around scripted parts, as a visitor reaches it; one for all tests of a module."""
    from tests.scripted import ScriptedParts
    from tests.serving import served

    with served(ScriptedParts(Settings(data_folder=tmp_path_factory.mktemp("data")))) as running:
        yield running
    del running
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
