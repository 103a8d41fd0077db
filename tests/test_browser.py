"""The page in Chromium: the embedded model in a real app process, and scripted text that tries to break out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from playground.config import Settings
from playground.feedback.export import export
from playground.parts import Request, load_parts
from playground.records import Preference
from tests.scripted import WORDS, ScriptedParts, channels, measured_catalogue
from tests.serving import free_port, served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parents[1]
PRECISION = "gguf"  # the app and the test load the model each for itself, and `auto` may choose differently
LENGTH = 24
ATTACKS = (
    "${window.broken=1}", "{{constructor}}", "<img src=x onerror='window.broken=1'>", "`${window.broken=1}`",
    "</script><script>window.broken=1</script>", "\u202eevil\u202c", "zero\u200bwidth", "\\${1}", "<form action=//evil>",
    "&lt;b&gt;", "\n\n", "",
)  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The app as a user starts it, with a data folder of its own: its address and that folder."""
    data, port = tmp_path_factory.mktemp("data"), free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--data-folder", str(data)]
    command += ["--precision", PRECISION]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(240):
        try:
            urllib.request.urlopen(url).close()
            break
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()[-2000:]  # type: ignore[union-attr]
            time.sleep(0.5)
    yield url, data
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    process.stderr.close()  # type: ignore[union-attr]


def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PLAYGROUND_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def colours(page: Page, board: str) -> list[str]:
    return page.locator(f"{board} .pg-token").evaluate_all("spans => spans.map(s => s.style.backgroundColor)")


def test_compare_colours_every_counted_token_with_the_servers_numbers(
    page: Page, app: tuple[str, Path], tmp_path: Path
) -> None:
    page.goto(app[0])
    page.wait_for_selector("#generate")
    page.fill("#compare-prompt textarea", "Name three birds.")
    page.fill("#length input[type=number]", str(LENGTH))
    page.press("#length input[type=number]", "Tab")
    page.click("#generate")
    page.wait_for_selector("#compare-board .pg-figures dt", timeout=180_000)
    specs = page.locator(".pg-specinput").evaluate_all("inputs => inputs.map(i => i.value)")
    traces = load_parts(Settings(data_folder=tmp_path, precision=PRECISION)).generate(
        Request("Name three birds.", seed=1, max_tokens=LENGTH), specs
    )
    for lane, trace in enumerate(traces):
        drawn = page.locator(f'#compare-board [data-lane="{lane}"] .pg-token').evaluate_all(
            "spans => spans.map(s => [s.textContent, s.token[1], s.token[2], s.token[3], s.style.backgroundColor !== ''])"
        )
        assert drawn == [[s.text, s.temperature, s.entropy, s.logprob, True] for s in trace.shown_steps]
    page.wait_for_selector(".pg-chart .js-plotly-plot")
    by_temperature = colours(page, "#compare-board")
    page.get_by_role("radio", name="Entropy").click()
    assert colours(page, "#compare-board") != by_temperature
    page.get_by_role("radio", name="None").click()
    assert set(colours(page, "#compare-board")) == {""}
    page.get_by_role("radio", name="Temperature").click()
    page.locator("#compare-board .pg-token").nth(3).hover()
    page.wait_for_selector(".pg-candidates >> visible=true")
    page.screenshot(path=shots(tmp_path) / "compare.png", full_page=True)
    assert page.problems == []  # type: ignore[attr-defined]


def test_arena_is_blind_until_the_vote_and_reveals_after_it(page: Page, app: tuple[str, Path], tmp_path: Path) -> None:
    page.goto(app[0])
    page.get_by_role("tab", name="Arena").click()
    page.click("#arena-agree")
    page.fill("#arena-prompt textarea", "Name three birds.")
    page.click("#battle")
    page.wait_for_selector("#arena-left:not([disabled])", timeout=240_000)
    assert page.locator("#arena-battle [style*=background], #arena-battle .pg-title").count() == 0
    shown = page.locator("#arena-battle .pg-text").all_text_contents()
    page.screenshot(path=shots(tmp_path) / "arena-blind.png", full_page=True)
    page.locator("body").press("1")
    page.wait_for_selector("#arena-board .pg-figures dt", timeout=30_000)
    assert page.locator("#arena-said").inner_text().startswith("Saved.")
    revealed = [
        "".join(page.locator(f'#arena-board [data-lane="{lane}"] .pg-token').all_text_contents()) for lane in (0, 1)
    ]
    assert revealed == shown
    page.screenshot(path=shots(tmp_path) / "arena-revealed.png", full_page=True)
    assert page.problems == []  # type: ignore[attr-defined]
    parts = load_parts(Settings(data_folder=app[1], precision=PRECISION))
    file = tmp_path / "votes.jsonl"
    export(parts.store, file, "lpo")
    (line,) = file.read_text(encoding="utf-8").splitlines()
    record = Preference.from_record(json.loads(line))
    left, right = (record.a, record.b) if record.left == "a" else (record.b, record.a)
    assert (record.outcome, [left[0].text, right[0].text]) == (record.left, shown)
    request = parts.store.battle(record.battle_id).request
    for trace in (*record.a, *record.b):
        assert parts.language_model.decode(trace.token_ids) == trace.text
        (again,) = parts.generate(request, [trace.policy], [trace.replica])
        assert again.id == trace.id
    parts.store.close()


def test_model_text_is_text_whatever_it_spells(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings, texts=(ATTACKS,))
    with served(parts) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        drawn = page.locator('#compare-board [data-lane="0"] .pg-token').all_text_contents()
        assert drawn == list(ATTACKS)
        assert page.evaluate("window.broken") is None
        assert page.locator("#compare-board img, #compare-board form, #compare-board script").count() == 0
        page.get_by_role("tab", name="Arena").click()
        page.click("#arena-agree")
        page.click("#battle")
        page.wait_for_selector("#arena-left:not([disabled])")
        assert page.locator("#arena-battle .pg-text").first.text_content() == "".join(ATTACKS)
        assert page.evaluate("window.broken") is None
    assert page.problems == []  # type: ignore[attr-defined]


def test_stop_keeps_what_streamed_and_draws_the_charts(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings, pause=0.2)
    with served(parts) as server:
        page.goto(server.url)
        page.click("#generate")
        page.locator("#compare-board .pg-token").nth(8).wait_for()
        page.click("#stop")
        page.wait_for_selector("#compare-board .pg-figures dt")
        page.wait_for_selector(".pg-chart .js-plotly-plot")
        count = page.locator("#compare-board .pg-token").count()
        page.wait_for_timeout(1000)
        assert page.locator("#compare-board .pg-token").count() == count < 80
        assert parts.closed
        assert parts.closed[0] < len(parts.texts[0])
    assert page.problems == []  # type: ignore[attr-defined]


def test_a_token_is_read_by_keyboard_and_on_a_phone(page: Page, settings: Settings) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    with served(ScriptedParts(settings)) as server:
        page.goto(server.url)
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        lanes = page.locator("#compare-board .pg-lane").evaluate_all(
            "all => all.map(l => l.getBoundingClientRect().toJSON())"
        )
        assert lanes[1]["top"] > lanes[0]["bottom"] - 1
        page.locator("#compare-board .pg-token").first.focus()
        page.keyboard.press("ArrowRight")
        card = page.locator(".pg-card >> visible=true").filter(has_text="token 2")
        card.wait_for()
        box = card.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
        page.keyboard.press("Escape")
        card.wait_for(state="hidden")
    assert page.problems == []  # type: ignore[attr-defined]


def set_lanes(page: Page, *specs: str) -> None:
    """Write the specs into the lanes' spec lines."""
    for lane, spec in enumerate(specs):
        line = page.locator(".pg-specinput").nth(lane)
        line.fill(spec)
        line.press("Tab")
        page.wait_for_function(
            "([i, s]) => document.querySelectorAll('.pg-specinput')[i].value === s", arg=[lane, spec]
        )


def painted(page: Page, lane: int) -> list[bool]:
    tokens = page.locator(f'#compare-board [data-lane="{lane}"] .pg-token')
    return tokens.evaluate_all("spans => spans.map(s => s.style.backgroundColor !== '')")


def test_a_policys_own_channel_has_an_overlay_with_legend_card_table_and_chart(
    page: Page, settings: Settings, tmp_path: Path
) -> None:
    parts = ScriptedParts(settings, texts=(WORDS,), catalogue=measured_catalogue())
    with served(parts) as server:
        page.goto(server.url)
        set_lanes(page, "measured", "fixed:temperature=0.7")
        assert page.get_by_role("radio", name="Amount").count() == 0
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
        page.get_by_role("radio", name="Amount").click()
        assert painted(page, 0) == ["amount" in channels("measured", i) for i in range(len(WORDS))]
        assert not any(painted(page, 1))
        notes = page.locator("#compare-board .pg-without")
        assert [notes.nth(lane).is_visible() for lane in (0, 1)] == [False, True]
        legend = page.locator("#compare-board .pg-legend")
        assert legend.inner_text().split() == ["0", "1", "2", "3", "4", "bits"]
        page.locator("#compare-board .pg-token").nth(3).hover()
        page.wait_for_selector(".pg-candidates >> visible=true")
        card = page.locator(".pg-card >> visible=true").inner_text().split("\n")
        assert card[card.index("Amount") + 1].split() == ["0.75", "bits,", "0.52", "nats"]
        assert card[card.index("Author") + 1] == "large model"
        page.screenshot(path=shots(tmp_path) / "channel.png", full_page=True)
        page.get_by_role("radio", name="Author").click()
        assert legend.inner_text().split("\n") == ["small model", "large model"]
        page.locator("#compare-board summary").first.click()
        page.wait_for_selector("#compare-board tbody tr")
        rows = page.locator("#compare-board tbody tr").evaluate_all(
            "rows => rows.map(r => [...r.cells].map(c => c.textContent))"
        )
        assert [row[5:] for row in rows[:2]] == [["–", "large model", "−1.00"], ["0.25", "small model", "0.00"]]
        page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 3")
        assert page.locator("#compare-board .pg-note >> visible=true").all_inner_texts() == ["16 tokens aimed at 3."]
        set_lanes(page, "edt", "fixed:temperature=0.7")
        page.click("#generate")
        page.wait_for_function("document.querySelectorAll('#compare-board [role=radio]').length === 4")
        page.wait_for_function("document.querySelectorAll('.pg-chart .js-plotly-plot').length === 2")
        assert page.get_by_role("radio", name="Temperature").get_attribute("aria-checked") == "true"
    assert page.problems == []  # type: ignore[attr-defined]


def test_a_lane_that_waits_or_streams_by_block_says_so_and_ends_by_itself(page: Page, settings: Settings) -> None:
    before_the_block, before_the_follower = threading.Event(), threading.Event()
    hold = {4: before_the_block, 10: before_the_follower}  # lane 1 takes ten passes, the last for its end token
    parts = ScriptedParts(settings, texts=(WORDS[:9],), pause=0.15, hold=hold, catalogue=measured_catalogue())
    with served(parts) as server:
        page.goto(server.url)
        set_lanes(page, "blocks", "shuffled:of=1")
        page.click("#generate")
        board = page.locator("#compare-board")
        uncertain, waits = board.get_by_text("no token is certain yet"), board.get_by_text("waits for lane 1")
        uncertain.wait_for()
        waits.wait_for()
        before_the_block.set()
        page.wait_for_selector('#compare-board [data-lane="0"].pg-ended')
        assert uncertain.count() == 0
        assert waits.is_visible()
        assert page.locator('#compare-board [data-lane="1"].pg-ended').count() == 0
        before_the_follower.set()
        page.wait_for_selector("#compare-board .pg-figures dt")
        assert waits.count() == 0
        for lane in (0, 1):
            assert page.locator(f'#compare-board [data-lane="{lane}"] .pg-token').all_text_contents() == list(WORDS[:9])
    assert page.problems == []  # type: ignore[attr-defined]


def test_the_picker_offers_every_streaming_policy_and_every_one_keeps_its_spec(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings)
    with served(parts) as server:
        page.goto(server.url)
        pick = page.locator(".pg-kind").first
        pick.wait_for()
        offered = pick.locator("option").evaluate_all("options => options.map(o => [o.value, o.disabled, o.text])")
        assert sorted(name for name, _, _ in offered) == sorted(k.name for k in parts.catalogue.kinds if k.streams)
        assert all("no trained" in text for _, disabled, text in offered if disabled)
        assert pick.locator("optgroup").count() >= 5
        for name in [name for name, disabled, _ in offered if not disabled]:
            pick.select_option(name)
            assert page.locator(".pg-specinput").first.input_value() == name
            page.locator(".pg-about").first.locator("summary").click()
            kind = next(kind for kind in parts.catalogue.kinds if kind.name == name)
            assert page.locator(".pg-about .pg-formula").first.text_content() == kind.formula
        pick.select_option("adaptive-token")
        assert page.get_by_label("quantile", exact=True).count() == 0
        page.get_by_label("select", exact=True).first.select_option("quantile")
        assert page.get_by_label("quantile", exact=True).count() == 1
        page.get_by_label("select", exact=True).first.select_option("argmax")
        assert page.locator(".pg-specinput").first.input_value() == "adaptive-token"
    assert page.problems == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_methods_view_lists_every_policy_and_the_cards(page: Page, settings: Settings, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    parts = ScriptedParts(settings)
    with served(parts) as server:
        page.goto(server.url)
        page.get_by_role("tab", name="Methods").click()
        page.wait_for_selector(".pg-method >> visible=true")
        listed = page.locator(".pg-method").evaluate_all("all => all.map(card => card.dataset.policy)")
        assert sorted(listed) == sorted(kind.name for kind in parts.catalogue.kinds)
        text = page.locator(".pg-methods").inner_text()
        for kind in parts.catalogue.kinds:
            assert kind.formula in text or " ".join(kind.formula.split()) in " ".join(text.split())
            assert kind.source in text
        page.locator(".pg-checkpoint button", has_text="token-head").click()
        page.get_by_role("heading", name="token-head").wait_for()
        assert page.get_by_text(parts.refused_heads[0]).is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.problems == []  # type: ignore[attr-defined]


def test_a_grounded_prompt_fills_the_document_and_every_lane_is_asked_with_it(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings)
    asked: list[Request] = []
    stream = parts.stream
    parts.stream = lambda request, *rest: asked.append(request) or stream(request, *rest)  # type: ignore[method-assign]
    with served(parts) as server:
        page.goto(server.url)
        page.get_by_role("button", name="grounded").first.click()
        page.get_by_role("button", name="The final score").first.click()
        page.get_by_text("More: document").first.click()
        page.wait_for_function("document.querySelector('#compare-source textarea').value.startsWith('Report:')")
        page.click("#generate")
        page.wait_for_selector("#compare-board .pg-figures dt")
    assert [(r.prompt, (r.source or "")[:17]) for r in asked] == [("Which team won?", "Report: The Foxes")]


def test_suggest_t_streams_stops_and_goes_into_a_lane(page: Page, settings: Settings) -> None:
    parts = ScriptedParts(settings, pause=0.05)
    with served(parts) as server:
        page.goto(server.url)
        page.get_by_text("Suggest a temperature for a task").click()
        page.click("#suggest-t")
        page.wait_for_function("document.querySelector('#suggest-said').innerText.includes('at 14 temperatures')")
        page.click("#suggest-stop")
        page.wait_for_function("document.querySelector('#suggest-said').innerText.startsWith('Stopped')")
        assert page.locator("#suggest-use").is_disabled()
        assert len(page.input_value("#suggest-prompts textarea").splitlines()) >= 7, (
            "a task of the gallery to begin with"
        )
        page.fill("#suggest-prompts textarea", "One.\nTwo.")
        page.click("#suggest-t")
        page.wait_for_function("document.querySelector('#suggest-said').innerText.includes('of 4, token')")
        page.wait_for_function("document.querySelector('#suggest-said').innerText.includes('published rule')")
        page.wait_for_selector("#suggest .js-plotly-plot")
    assert page.problems == []  # type: ignore[attr-defined]
