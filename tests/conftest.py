"""Fixtures: the embedded model once a session, parts around it in a folder of their own, TinyLM."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve a shared machine

import pytest
import torch

from models.language_model import LanguageModel, load_language_model
from playground.config import Settings
from tests.tiny_lm import TinyLM

torch.set_num_threads(2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("browser", "slow")):
            item.add_marker(pytest.mark.quick)


@pytest.fixture(scope="session")
def embedded_model() -> LanguageModel:
    """The real default model, fetched and converted where it is not cached yet."""
    return load_language_model(cache=Settings().cache_folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data lie in the test's own folder."""
    return Settings(data_folder=tmp_path / "data")


@pytest.fixture
def tiny() -> TinyLM:
    return TinyLM()
