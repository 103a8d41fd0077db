"""The lanes of the form in Chromium: references that follow their lane, specs that are none, and runs that never began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from playground.config import Settings
from tests.scripted import ScriptedParts
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]


class Asked(ScriptedParts):
    """Remembers the specs of every run."""

    def stream(self, request: Any, specs: Any, replicas: Any = None) -> Any:
        self.asked.append([spec.partition(":")[0] + of(spec) for spec in specs])  # type: ignore[attr-defined]
        return super().stream(request, specs, replicas)


def of(spec: str) -> str:
    return "".join(f" of {part[3:]}" for part in spec.partition(":")[2].split(",") if part.startswith("of="))


@pytest.fixture
def form(page: Page, settings: Settings) -> Iterator[Page]:
    parts = Asked(settings)
    parts.asked = []  # type: ignore[attr-defined]
    with served(parts) as server:
        page.goto(server.url)
        page.wait_for_selector(".pg-specinput")
        page.asked = parts.asked  # type: ignore[attr-defined]
        yield page
    assert page.problems == []  # type: ignore[attr-defined]


def write(page: Page, *specs: str) -> None:
    """Lanes with these specs, each typed into its line."""
    while page.locator(".pg-policy").count() < len(specs):
        page.locator(".pg-add").click()
    for lane, spec in enumerate(specs):
        line = page.locator(".pg-specinput").nth(lane)
        line.fill(spec)
        line.press("Tab")
        expect(line).to_have_value(spec)
        expect(page.locator(".pg-kind").nth(lane)).to_have_value(spec.partition(":")[0])


def specs(page: Page) -> list[str]:
    return page.locator(".pg-specinput").evaluate_all("inputs => inputs.map(i => i.value)")  # type: ignore[no-any-return]


def remove(page: Page, lane: int) -> None:
    page.get_by_role("button", name=f"Remove lane {lane}").click()


def run(page: Page) -> Any:
    """What was asked when Generate was pressed and the run ended."""
    count = len(page.asked)  # type: ignore[attr-defined]
    page.locator("#compare-board .pg-lane").evaluate_all("lanes => lanes.forEach(lane => (lane.dataset.old = 1))")
    page.click("#generate")
    page.wait_for_function(
        "!document.querySelector('#compare-board .pg-earlier, #compare-board .pg-running, #compare-board [data-old]')"
        " && document.querySelector('#compare-board .pg-figures dt')"
    )
    expect(page.locator("#compare-after")).to_be_visible()
    assert len(page.asked) == count + 1  # type: ignore[attr-defined]
    return page.asked[-1]  # type: ignore[attr-defined]


def refused(page: Page, sentence: str) -> None:
    """Presses Generate and expects this refusal and no run."""
    count = len(page.asked)  # type: ignore[attr-defined]
    with page.expect_response(lambda response: "queue/join" in response.url):
        page.click("#generate")
    expect(page.locator("#compare-board .pg-problem >> visible=true")).to_contain_text(sentence)
    assert len(page.asked) == count  # type: ignore[attr-defined]


def test_a_reference_follows_its_lane_when_another_lane_is_removed(form: Page) -> None:
    write(form, "edt", "fixed:temperature=0.7", "adaptive-token", "shuffled:of=2")
    remove(form, 1)
    assert specs(form) == ["fixed:temperature=0.7", "adaptive-token", "shuffled:of=1"]
    assert run(form) == ["fixed", "adaptive-token", "shuffled of 1"]
    write(form, "fixed:temperature=0.7", "adaptive-token", "matched:of=2")
    remove(form, 1)
    assert specs(form) == ["adaptive-token", "matched:of=1"]
    assert run(form) == ["adaptive-token", "matched of 1"]


def test_a_lane_whose_lane_was_removed_says_so_and_does_not_run(form: Page) -> None:
    write(form, "adaptive-token", "fixed:temperature=0.7", "shuffled:of=1")
    remove(form, 1)
    assert specs(form) == ["fixed:temperature=0.7", "shuffled:of=?"]
    expect(form.locator(".pg-knobnote >> visible=true")).to_have_text(
        "The lane that it followed was removed; choose another one."
    )
    refused(form, "Lane 2 followed a lane that was removed")
    form.locator(".pg-add").click()
    assert specs(form)[1] == "shuffled:of=?"  # a new lane is not the one that was meant
    refused(form, "Lane 2 followed a lane that was removed")
    remove(form, 3)
    form.locator('select[data-key="of"]').select_option("1")
    expect(form.locator(".pg-knobnote >> visible=true")).to_have_count(0)
    assert run(form) == ["fixed", "shuffled of 1"]


def test_a_reference_survives_another_policy_on_either_side_of_it(form: Page) -> None:
    write(form, "adaptive-token", "edt", "shuffled:of=1")
    form.locator(".pg-kind").nth(2).select_option("matched")
    form.locator(".pg-kind").nth(0).select_option("min-p")
    assert specs(form) == ["min-p", "edt", "matched:of=1"]
    assert form.locator('select[data-key="of"]').evaluate("s => s.selectedOptions[0].text") == "Lane 1 · Min-p"
    form.locator(".pg-kind").nth(0).select_option("shuffled")
    form.locator('select[data-key="of"]').first.select_option("3")
    notes = form.locator(".pg-knobnote >> visible=true")
    expect(notes).to_have_text(
        ["Lane 3 follows a lane itself; choose one that decides by itself."] * 1
        + ["Lane 1 follows a lane itself; choose one that decides by itself."]
    )
    refused(form, "follows a lane itself")


@pytest.mark.parametrize("text", ["FIXED", "fixed:temperature=1e9", "", "shuffled:of=7"])
def test_what_stands_in_a_spec_line_runs_or_is_refused_by_its_lane(form: Page, text: str) -> None:
    line = form.locator(".pg-specinput").nth(1)
    line.fill(text)  # and Generate at once: the line has not even lost the focus
    refused(form, "Lane 2")
    form.locator(".pg-add").click()
    assert line.input_value() == text
    refused(form, "Lane 2")
    line.fill("fixed:temperature=0.2")
    assert run(form)[:2] == ["adaptive-token", "fixed"]
    expect(form.locator(".pg-specnote >> visible=true").filter(has_text="policy")).to_have_count(0)


def test_an_alias_that_was_typed_stays_what_it_is(form: Page) -> None:
    line, menu = form.locator(".pg-specinput").nth(1), form.locator(".pg-kind").nth(1)
    line.fill("min-p:p=.05")
    line.press("Tab")
    expect(line).to_have_value("min-p:p=0.05")
    expect(menu).to_have_value("min-p")


def test_a_knob_says_at_once_what_it_may_not_be(form: Page) -> None:
    write(form, "long-horizon", "fixed:temperature=0.7")
    notes = form.locator(".pg-knobnote >> visible=true")
    heat = form.get_by_label("temperature", exact=True).nth(1)
    heat.fill("9")
    expect(notes).to_have_text("Must be a number from 0 to 5.")
    refused(form, "Lane 2: `temperature` must be a number from 0 to 5")
    heat.fill("")
    heat.press_sequentially("1e")  # no number: it must not run as the default
    expect(notes).to_have_text("Must be a number from 0 to 5.")
    refused(form, "Lane 2: `temperature` must be")
    heat.fill("")
    expect(notes).to_have_count(0)
    assert heat.get_attribute("placeholder") == "1"
    form.get_by_label("particles", exact=True).fill("2.5")
    expect(notes).to_have_text("Must be a whole number from 1 to 16.")
    refused(form, "Lane 1: `particles` must be a whole number")
    form.locator(".pg-filters summary").nth(1).click()
    form.get_by_label("top_p", exact=True).nth(1).fill("0")
    expect(notes).to_have_count(2)


def test_under_a_refusal_the_run_before_is_marked_and_cannot_be_voted_on(form: Page) -> None:
    run(form)
    vote = form.locator("#compare-first")
    vote.wait_for()
    form.fill("#compare-prompt textarea", " ")
    refused(form, "prompt")
    expect(form.get_by_text("What stands below is of the run before.")).to_be_visible()
    expect(vote).to_be_hidden()
    form.fill("#compare-prompt textarea", "Again.")
    run(form)
    expect(form.get_by_text("What stands below is of the run before.")).to_be_hidden()
    expect(vote).to_be_visible()


def test_after_a_vote_its_two_replies_take_no_other_and_the_next_two_do(form: Page) -> None:
    write(form, "adaptive-token", "edt", "fixed:temperature=0.7")
    run(form)
    form.get_by_label("I agree", exact=False).check()
    form.click("#compare-first")
    said, buttons = form.locator("#compare-said"), form.locator("#compare-after .pg-votes button")
    expect(said).to_have_text("Saved, marked as not blind.")
    expect(buttons).to_have_count(4)
    for number in range(4):
        expect(buttons.nth(number)).to_be_disabled()

    def choose(picker: str, lane: int) -> None:
        form.get_by_label(picker, exact=True).click()
        form.locator("ul[role=listbox] [role=option]").filter(has_text=f"Lane {lane}").click()

    choose("Second", 3)
    expect(form.locator("#compare-tie")).to_be_enabled()
    expect(said).to_have_text("")
    form.click("#compare-tie")
    expect(said).to_have_text("Saved, marked as not blind.")
    expect(form.locator("#compare-tie")).to_be_disabled()
    choose("Second", 2)
    expect(said).to_have_text("Saved, marked as not blind.")
    expect(form.locator("#compare-tie")).to_be_disabled()
    run(form)
    expect(form.locator("#compare-tie")).to_be_enabled()
    expect(said).to_have_text("")


def test_the_vote_row_offers_the_lanes_of_the_run_and_forgets_its_sentence(form: Page) -> None:
    run(form)
    form.locator("#compare-first").wait_for()
    form.click("#compare-first")
    said = form.locator("#compare-said")
    expect(said).to_contain_text("Tick the notice")
    form.get_by_label("First", exact=True).click()
    options = form.locator("ul[role=listbox] [role=option]")
    expect(options).to_have_text(["✓ Lane 1", "✓ Lane 2"])
    form.keyboard.press("Escape")
    form.locator(".pg-add").click()
    run(form)
    expect(said).to_have_text("")
    form.get_by_label("Second", exact=True).click()
    expect(options).to_have_text(["✓ Lane 1", "✓ Lane 2", "✓ Lane 3"])
