"""`python app.py`: the page is open before its address is printed, and so is the link that signs the operator in, once."""

from __future__ import annotations

import importlib
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playground import parts as composition
from playground.ui import operators
from tests.serving import free_port
from tests.tiny_lm import TinyLM

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
LINK = re.compile(r"http://127\.0\.0\.1:\d+/\?operator=([\w-]{43})")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setattr(composition, "load_language_model", lambda *_: TinyLM())
    for name, value in {"DATA_FOLDER": tmp_path / "data", "CACHE_FOLDER": tmp_path, "PORT": free_port()}.items():
        monkeypatch.setenv(f"PLAYGROUND_{name}", str(value))
    monkeypatch.delitem(sys.modules, "app", raising=False)
    module = importlib.import_module("app")
    monkeypatch.setattr(module.demo, "block_thread", lambda: None)
    yield module
    module.demo.close(verbose=False)
    module.parts.store.close()
    sys.modules.pop("app", None)


def test_the_link_is_printed_once_signs_in_and_is_kept_in_no_file(app: Any, tmp_path: Path, capfd: Any) -> None:
    app.start()
    out, told = capfd.readouterr()
    assert "The playground is open at http://127.0.0.1:" in told
    (secret,) = LINK.findall(out + told)
    link = LINK.search(told)
    assert link
    with urllib.request.urlopen(link[0]) as page:
        assert page.url.endswith(f":{app.chosen.port}/"), "the secret has left the address"
        assert b"gradio" in page.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{app.chosen.port}/?operator=x").close()
    refused.value.close()
    assert refused.value.code == 403
    assert secret not in "".join(capfd.readouterr()), "opening it logs nothing"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_on_a_space_no_link_is_printed_and_none_signs_in(app: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "get_space", lambda: "someone/space")
    app.start()
    told = "".join(capfd.readouterr())
    assert "is open at" in told
    assert "operator" not in told
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(app.demo.operators.link("127.0.0.1", app.chosen.port)).close()
    assert operators.ON_A_SPACE in refused.value.read().decode()
    refused.value.close()
