"""What breaks on the server is one sentence on the page; neither the page nor the log holds a path, a prompt, a voter or a ticket
that it should not."""

from __future__ import annotations

import gc
import json
import pickle
import sqlite3
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab
from sqlalchemy import event

from playground import parts as composition
from playground.config import Settings
from playground.decoding.scheduler import UNEXPECTED as DECODING
from playground.errors import FaultError, PlaygroundError, trail
from playground.feedback.store import Store
from playground.ui import faults, notice
from playground.ui.faults import UNEXPECTED, without_places
from playground.ui.lanes import read_lanes
from tests.scripted import ScriptedParts
from tests.serving import Served, served
from tests.test_gate import post, send
from tests.tiny_lm import TinyLM

# Gradio leaves its event loop open
pytestmark = pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
VOTER, PROMPT = "voter-8f3a-secret", "My diary of the eleventh, secret."
ASKED = [PROMPT, "", "", "", ""]


class Broken(ScriptedParts):
    """Decodes until `broken` holds an exception, which then ends every request."""

    broken: Exception | None = None

    def stream(self, *given: Any) -> Iterator[Any]:
        if self.broken:
            raise self.broken
        yield from super().stream(*given)


@pytest.fixture
def parts(settings: Settings) -> Broken:
    made = Broken(settings)
    made.__dict__["store"] = Store.open(settings.sqlalchemy_url, settings.data_folder, busy_seconds=0.1)
    made.store.agree(VOTER, notice.VERSION)
    return made


@pytest.fixture
def server(parts: Broken) -> Iterator[Served]:
    with served(parts) as running:
        yield running
    del running
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def file_of(parts: Broken) -> Path:
    return parts.settings.data_folder / "votes.sqlite3"


def locked(parts: Broken) -> Callable[[], None]:
    other = sqlite3.connect(file_of(parts), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def gone(parts: Broken) -> Callable[[], None]:
    parts.store.counts()
    file_of(parts).unlink()
    return lambda: None


def full(parts: Broken) -> Callable[[], None]:
    engine = parts.store._database.engine
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count=1").close())
    return lambda: None


def garbage(parts: Broken) -> Callable[[], None]:
    parts.store._database.engine.dispose()
    file_of(parts).write_bytes(b"x" * 100_000)
    return lambda: None


def unexpected(parts: Broken) -> Callable[[], None]:
    def fail(*_: Any) -> None:
        raise RuntimeError(f"{VOTER} wrote {PROMPT} into {file_of(parts)}")

    for name in ("agree", "agreed", "open_battle", "vote", "battle", "record_open_vote"):
        setattr(parts.store, name, fail)
    return lambda: None


def finished_battle(server: Served, session: str = "s") -> dict[str, Any]:
    """What the page holds when the vote is open; the ticket is its `battle`."""
    told = server.event(server.function("battle"), [*ASKED, VOTER], session).decode()
    data = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    battle = next(m["output"]["data"][0] for m in data if m["msg"] == "process_generating" and m["output"]["data"][0])
    return {"battle": battle["battle"], "run": battle["run"], "seq": 99, "text": ["a", "b"], "done": True}


def last_value(told: str) -> Any:
    """The board's value when a stream has ended, as the browser puts it together: the last replacement."""
    sent = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    value = next(m["output"]["data"][0] for m in reversed(sent) if (m.get("output") or {}).get("data"))
    return value if isinstance(value, str) else value[-1][2]


def events(server: Served, message: dict[str, Any]) -> dict[str, tuple[int, list[Any]]]:
    """Every event of the page that asks the store, with what a visitor sends."""
    lambdas = [n for n, fn in server.page.fns.items() if fn.name == "<lambda>" and len(fn.inputs) == 2]
    return {
        "agree": (server.function("agree"), [VOTER]),
        "opened": (server.function("opened"), [VOTER]),
        "battle": (server.function("battle"), [*ASKED, VOTER]),
        "vote": (lambdas[0], [message, VOTER]),
        "compare vote": (server.function("cast"), ["Lane 1", "Lane 2", VOTER, True, message["last"]]),
    }


def shown(told: str) -> list[str]:
    """Every sentence of a stream: of an error toast, of a refusal in a value, of a line of text."""
    found: list[str] = []
    for line in told.splitlines():
        message = json.loads(line[6:]) if line.startswith("data: ") else {}
        output = message.get("output") or {}
        found += [output["error"]] if output.get("error") else []
        for value in output.get("data") or ():
            if isinstance(value, dict) and value.get("error"):
                found.append(value["error"])
            elif isinstance(value, str) and value.endswith("."):
                found.append(value)
    return found


SENTENCES = {
    locked: "the database is busy; try again.",
    gone: "the database cannot be written now; tell the operator of this page.",
    full: "the disk of the server is full; tell its operator.",
    garbage: "the database is damaged; tell the operator of this page.",
    unexpected: UNEXPECTED,
}


@pytest.mark.parametrize("fault", SENTENCES, ids=lambda fault: fault.__name__)
def test_a_database_that_fails_is_one_sentence_everywhere(
    server: Served, parts: Broken, capfd: Any, caplog: Any, fault: Callable[[Broken], Callable[[], None]]
) -> None:
    generated = server.event(server.function("generate"), [*ASKED, 1, 16, ["fixed", "edt"]], "s").decode()
    assert '\\"done\\":true' in generated
    message = finished_battle(server) | {"last": last_value(generated)}
    heal = fault(parts)
    told = {name: server.event(*call, "s").decode() for name, call in events(server, message).items()}
    heal()
    logged = "".join(capfd.readouterr()) + caplog.text
    failed = 0
    for name, answer in told.items():
        for leak in (str(parts.settings.data_folder), "votes.sqlite3", "sqlite3.", "Error(", "Traceback", "INSERT"):
            assert leak not in answer, (name, leak)
        said = shown(answer)
        failed += any(SENTENCES[fault] in sentence for sentence in said)
        assert '"error":null' not in answer.replace(" ", ""), f"{name}: an empty toast"
    assert failed >= (2 if fault in (gone, full) else 4), told
    for private in (VOTER, PROMPT, message["battle"], message["battle"].split(".")[-1]):
        assert private not in logged
    assert "A request failed." in logged, "the operator reads of it"
    if fault not in (unexpected, garbage):
        assert str(file_of(parts)) in logged, "and where"


def test_a_vote_that_was_saved_is_said_to_be_saved_though_nothing_can_be_revealed(
    server: Served, parts: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = finished_battle(server) | {"last": None}

    def fail(*_: Any) -> None:
        raise PlaygroundError(f"No {file_of(parts)}.", "The database is gone.")

    monkeypatch.setattr(parts.store, "reveal", fail)
    said = shown(server.event(*events(server, message)["vote"], "s").decode())
    assert said == ["**Saved.** Who answered cannot be shown now: The database is gone."]
    assert parts.store.counts()["votes"] == 1


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, MemoryError, OSError])
def test_a_model_step_that_breaks_is_one_sentence_in_every_tab(
    server: Served, parts: Broken, capfd: Any, caplog: Any, kind: type[Exception]
) -> None:
    parts.broken = kind(f"CUDA failed on {PROMPT} in {parts.settings.data_folder}")
    calls = {"generate": [*ASKED, 1, 16, ["fixed", "edt"]], "battle": [*ASKED, VOTER], "run": [PROMPT, 1]}
    for name, data in calls.items():
        told = server.event(server.function(name), data, "s").decode()
        assert UNEXPECTED in told, (name, told)
        assert "CUDA" not in told
        assert str(parts.settings.data_folder) not in told
    logged = "".join(capfd.readouterr()) + caplog.text
    assert PROMPT not in logged
    assert kind.__name__ in logged


def test_a_real_batch_that_breaks_says_nothing_of_the_exception(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    class Breaks(TinyLM):
        def forward(self, asks: Sequence[Any]) -> Any:
            raise RuntimeError(f"shape mismatch in {PROMPT} at {settings.data_folder}")

    monkeypatch.setattr(composition, "load_language_model", lambda *_: Breaks())
    loaded = composition.load_parts(settings, visitors=True)
    with pytest.raises(PlaygroundError) as caught:
        loaded.generate(composition.Request(PROMPT), ["fixed", "edt"])
    assert str(caught.value) == caught.value.page == DECODING
    assert PROMPT not in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    "asked",
    [
        {"component_id": 10**9}, {"component_id": "x"}, {"component_id": None}, {"fn_name": "__class__"}, {"fn_name": "value"},
        {"data": []}, {"data": "x"}, {"data": {"run": {"a": 1}, "have": {}}}, {"data": None}, {"session_hash": {}},
    ],
)  # fmt: skip
def test_a_server_function_answers_whatever_is_sent_with_a_sentence(
    server: Served, asked: dict[str, Any], capfd: Any
) -> None:
    board = next(number for number, block in server.page.blocks.items() if block.elem_id == "compare-board")
    body = {"component_id": board, "fn_name": "inspect", "data": {}, "session_hash": "s"} | asked
    raw = json.dumps(body).encode()
    head = f"POST /gradio_api/component_server HTTP/1.1\nContent-Type: application/json\nContent-Length: {len(raw)}\nConnection: close"
    status, _, text = send(server, head, raw)
    told = json.loads(text)
    assert told.get("error") or told.get("detail")
    assert "Traceback" not in text + "".join(capfd.readouterr())
    assert status in (200, 400, 404, 422, 500)


@pytest.mark.parametrize("data", [[], [1], [None] * 9, [{"a": 1}] * 9, ["x"] * 8])
def test_an_event_with_other_values_than_the_page_sends_leaves_no_traceback(
    server: Served, data: list[Any], capfd: Any
) -> None:
    for number in list(server.page.fns):
        asked = json.dumps({"fn_index": number, "data": data, "session_hash": f"s{number}"}).encode()
        status, said = post(server, asked)
        if status == 400:
            assert json.loads(said)["detail"].endswith(".")
            continue
        with urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash=s{number}") as stream:
            told = stream.read().decode()
        assert "process_completed" in told
        assert '"error":null' not in told.replace(" ", "")
    captured = "".join(capfd.readouterr())
    assert "Traceback" not in captured


def test_the_log_keeps_kinds_and_lines_and_no_message() -> None:
    try:
        try:
            raise KeyError(PROMPT)
        except KeyError as cause:
            raise FaultError("The file /data/votes is full.", "The disk is full.") from cause
    except FaultError as error:
        told = trail(error)
    assert PROMPT not in told
    assert "FaultError: The file /data/votes is full." in told
    assert "caused by KeyError" in told
    assert "test_faults.py" in told
    assert "No space left on device: /data" in trail(OSError(28, "No space left on device", "/data"))


def test_an_error_keeps_what_is_shown_between_processes() -> None:
    error = pickle.loads(pickle.dumps(FaultError("The file /a/b is full.", "Full.")))
    assert (str(error), error.page) == ("The file /a/b is full.", "Full.")
    assert PlaygroundError("Same.").page == "Same."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("in /var/data/checkpoints.", "in checkpoints."),
        ("at '/a/b/votes.sqlite3'; try", "at 'votes.sqlite3'; try"),
        (r"in C:\Users\me\heads (none)", "in heads (none)"),
        (
            "see https://arxiv.org/abs/2411.09661 and 3/4 and a/b",
            "see https://arxiv.org/abs/2411.09661 and 3/4 and a/b",
        ),
        ("python -m playground train --folder /x/y", "python -m playground train --folder y"),
        ("There is no checkpoint '<b>x</b>'", "There is no checkpoint '<b>x</b>'"),
        ("T = l0 · (1 − 1/a + H / (a · ln V))", "T = l0 · (1 − 1/a + H / (a · ln V))"),
    ],
)
def test_paths_are_cut_to_their_last_name(text: str, left: str) -> None:
    assert without_places(text) == left
    assert faults.sentence(FaultError(text)) == left
    assert faults.sentence(raised_from(OSError(28, "full"), PlaygroundError(text))) == left


def raised_from(cause: Exception, error: Exception) -> Exception:
    try:
        raise error from cause
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    ("typed", "quoted"),
    [
        ("<b>x</b>", "'<b>x</b>'"),
        ("/x", "'/x'"),
        ("a /b/c d", "'a /b/c d'"),
        ("fixed:temperature=/2", "'/2'"),
        ("fixed:/a/b=1", "'/a/b'"),
        ("fixed:/a/b", "'/a/b'"),
    ],
)
def test_what_a_visitor_typed_is_quoted_as_it_was_typed(parts: Broken, typed: str, quoted: str) -> None:
    """It is no place on this machine, though it may look like one."""
    with pytest.raises(PlaygroundError) as refused:
        read_lanes(parts, ["edt", typed])  # type: ignore[arg-type]
    assert quoted in faults.sentence(refused.value)


@pytest.mark.browser
def test_agree_that_fails_says_why_on_the_page(page: Tab, server: Served, parts: Broken) -> None:
    page.goto(server.url)
    page.get_by_role("tab", name="Arena").click()
    page.wait_for_selector("#arena-agree")
    heal = locked(parts)
    page.click("#arena-agree")
    page.get_by_text("Nothing was saved: the database is busy; try again.").first.wait_for()
    assert page.locator("#arena-agree").is_visible()
    heal()
    page.click("#arena-agree")
    page.wait_for_selector("#battle >> visible=true")
