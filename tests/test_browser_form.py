"""The form in Chromium: what a pick sets and what a prompt of one's own clears, and what survives a reload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from playground.config import Settings
from playground.gallery import GalleryPrompt, load_gallery
from tests.scripted import ScriptedParts
from tests.serving import served

pytestmark = [
    pytest.mark.browser,
    # Gradio leaves its event loop open
    pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning"),
]


class Asked(ScriptedParts):
    """Remembers every request."""

    def stream(self, request: Any, specs: Any, replicas: Any = None) -> Any:
        self.asked.append((request, list(specs)))  # type: ignore[attr-defined]
        return super().stream(request, specs, replicas)


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


def one_with(name: str) -> GalleryPrompt:
    return next(prompt for prompt in load_gallery() if getattr(prompt, name))


def pick(page: Page, prompt: GalleryPrompt, tab: str = "compare") -> None:
    gallery = page.locator(f"#{tab}-gallery")
    gallery.locator(f'.pg-family[data-family="{prompt.family}"]').click()
    gallery.get_by_role("button", name=prompt.title, exact=True).click()
    expect(page.locator(f"#{tab}-prompt textarea")).to_have_value(prompt.prompt)


def fold(page: Page) -> Any:
    return page.locator(".pg-more").first.get_by_role("button").first


def generated(page: Page) -> Any:
    """The request of a run that Generate starts."""
    count = len(page.asked)  # type: ignore[attr-defined]
    with page.expect_response(lambda response: "queue/join" in response.url):
        page.locator("#compare-board .pg-lane").evaluate_all("lanes => lanes.forEach(lane => lane.remove())")
        page.click("#generate")
    page.wait_for_selector("#compare-board .pg-token")
    assert len(page.asked) == count + 1  # type: ignore[attr-defined]
    return page.asked[-1][0]  # type: ignore[attr-defined]


def test_the_fold_says_what_a_pick_has_set_and_a_prompt_of_ones_own_starts_clean(form: Page) -> None:
    chosen = one_with("source")
    pick(form, chosen)
    expect(fold(form)).to_contain_text("More: document")
    expect(fold(form)).to_contain_text("set")
    assert generated(form).source == chosen.source
    form.fill("#compare-prompt textarea", "Name three birds.")
    assert generated(form).source is None
    expect(fold(form)).not_to_contain_text("set")
    expect(form.locator("#compare-gallery .pg-cleared")).to_contain_text(f"the document of “{chosen.title}” is cleared")
    form.get_by_role("button", name="Put back").click()
    expect(fold(form)).to_contain_text("document set")
    form.fill("#compare-prompt textarea", "And what else?")  # put back by hand: it stays
    asked = generated(form)
    assert (asked.prompt, asked.source) == ("And what else?", chosen.source)


@pytest.mark.parametrize("field", ["system", "prefill"])
def test_every_field_that_a_pick_sets_goes_with_it_and_what_was_typed_stays(form: Page, field: str) -> None:
    chosen = one_with(field)
    pick(form, chosen)
    fold(form).click()
    expect(form.locator(f"#compare-{field} textarea, #compare-{field} input")).to_have_value(
        str(getattr(chosen, field))
    )
    form.fill("#compare-stops textarea, #compare-stops input", "END")
    form.fill("#compare-source textarea", "A document of my own.")
    expect(fold(form)).to_contain_text("More: document, ")
    expect(fold(form)).to_contain_text("stop strings set")
    form.locator("#compare-prompt textarea").press_sequentially("x")
    asked = generated(form)
    assert (asked.source, asked.stop) == ("A document of my own.", ("END",))
    assert not getattr(asked, field)
    expect(fold(form)).to_contain_text("More: document, stop strings set")


def test_the_next_pick_replaces_all_that_the_one_before_had_set(form: Page) -> None:
    pick(form, one_with("source"))
    plain = next(p for p in load_gallery() if not (p.source or p.system or p.prefill))
    pick(form, plain)
    asked = generated(form)
    assert (asked.source, asked.system, asked.prefill) == (None, None, "")
    expect(fold(form)).not_to_contain_text("set")


OWN = {"system": "You are my own.", "prefill": "Mine: ", "source": "A document of my own."}


def typed(page: Page, field: str) -> Any:
    return page.locator(f"#compare-{field} textarea, #compare-{field} input")


@pytest.mark.parametrize("field", OWN)
def test_what_was_typed_by_hand_outlives_picks_that_do_not_set_it(form: Page, field: str) -> None:
    fold(form).click()
    typed(form, field).fill(OWN[field])
    plain = [p for p in load_gallery() if not (p.source or p.system or p.prefill)]
    for prompt in (plain[0], next(p for p in plain if p.family != plain[0].family)):
        pick(form, prompt)
        expect(typed(form, field)).to_have_value(OWN[field])
    asked = generated(form)
    assert {"system": asked.system, "prefill": asked.prefill, "source": asked.source}[field] == OWN[field]
    expect(form.locator("#compare-gallery .pg-cleared")).to_have_text("")


@pytest.mark.parametrize("field", OWN)
def test_what_a_pick_stands_in_place_of_is_said_and_comes_back(form: Page, field: str) -> None:
    fold(form).click()
    typed(form, field).fill(OWN[field])
    chosen = one_with(field)
    said = form.locator("#compare-gallery .pg-cleared")
    pick(form, chosen)
    expect(typed(form, field)).to_have_value(str(getattr(chosen, field)))
    expect(said).to_contain_text(f"“{chosen.title}” stands in place of your ")
    form.get_by_role("button", name="Put back").click()
    expect(typed(form, field)).to_have_value(OWN[field])
    expect(said).to_have_text("")
    pick(form, chosen)
    plain = next(p for p in load_gallery() if not (p.source or p.system or p.prefill))
    pick(form, plain)  # sets nothing of the kind: one's own comes back by itself
    expect(typed(form, field)).to_have_value(OWN[field])
    pick(form, chosen)
    expect(said).to_contain_text("in place of your")
    form.locator("#compare-prompt textarea").press_sequentially("x")
    expect(typed(form, field)).to_have_value(OWN[field])


def test_a_prompt_of_ones_own_comes_back_after_a_pick(form: Page) -> None:
    form.fill("#compare-prompt textarea", "A prompt of my own.")
    with_document = one_with("source")
    pick(form, with_document)
    pick(form, one_with("system"))
    pick(form, with_document)
    expect(form.locator("#compare-gallery .pg-cleared")).to_contain_text("in place of your prompt")
    form.get_by_role("button", name="Put back").click()
    expect(form.locator("#compare-prompt textarea")).to_have_value("A prompt of my own.")
    asked = generated(form)
    assert (asked.prompt, asked.system, asked.source) == ("A prompt of my own.", None, None)
    expect(form.locator("#compare-gallery .pg-cleared")).to_have_text("")


def test_a_reload_keeps_prompt_fold_lanes_seed_length_and_tab(form: Page) -> None:
    form.fill("#compare-prompt textarea", "My own words.")
    fold(form).click()
    form.fill("#compare-system textarea", "Be brief.")
    form.fill("#seed input", "77")
    form.fill("#length input[type=number]", "40")
    form.press("#length input[type=number]", "Tab")
    form.locator(".pg-add").click()
    line = form.locator(".pg-specinput").nth(2)
    line.fill("shuffled:of=1")
    line.press("Tab")
    expect(form.locator(".pg-kind").nth(2)).to_have_value("shuffled")
    form.get_by_role("tab", name="Arena").click()
    form.click("#arena-agree")
    form.fill("#arena-prompt textarea", "For the arena.")
    form.reload()
    expect(form.get_by_role("tab", name="Arena")).to_have_attribute("aria-selected", "true")
    expect(form.locator("#arena-prompt textarea")).to_have_value("For the arena.")
    form.get_by_role("tab", name="Compare").click()
    expect(form.locator("#compare-prompt textarea")).to_have_value("My own words.")
    expect(fold(form)).to_contain_text("More: system prompt set")
    specs = form.locator(".pg-specinput")
    expect(specs).to_have_count(3)
    expect(specs.nth(2)).to_have_value("shuffled:of=1")
    asked = generated(form)
    assert (asked.prompt, asked.system, asked.seed, asked.max_tokens) == ("My own words.", "Be brief.", 77, 40)
    assert len(form.asked[-1][1]) == 3  # type: ignore[attr-defined]


def test_another_tab_of_the_browser_starts_anew_and_a_battle_is_not_kept(form: Page) -> None:
    form.fill("#compare-prompt textarea", "My own words.")
    form.get_by_role("tab", name="Arena").click()
    form.click("#arena-agree")
    form.click("#battle")
    form.wait_for_selector("#arena-left:not([disabled])")
    kept = form.evaluate("Object.values(sessionStorage).join()")
    assert "My own words." in kept
    replies = form.locator("#arena-battle .pg-text").all_text_contents()
    assert all(reply and reply not in kept for reply in replies)
    assert "battle" not in kept
    form.reload()
    expect(form.get_by_role("tab", name="Arena")).to_have_attribute("aria-selected", "true")
    expect(form.locator("#arena-left")).to_be_hidden()
    other = form.context.new_page()
    other.goto(form.url)
    expect(other.locator("#compare-prompt textarea")).not_to_have_value("My own words.")


def test_what_is_stored_but_not_ours_is_left_alone(form: Page) -> None:
    strange = "Object.values(JSON.parse(sessionStorage.getItem('adaptive-decoding-form')).compare)"
    form.fill("#compare-prompt textarea", "My own words.")
    form.wait_for_function(f"sessionStorage.getItem('adaptive-decoding-form') && {strange}.some(Array.isArray)")
    for specs in ('{"specs": 1}', '"fixed"', "5", "[]", "[1, 2]"):
        changed = f"{strange}.map((value) => Array.isArray(value) ? {specs} : value)"
        stored = f"JSON.stringify({{compare: {changed}}})"
        form.evaluate(f"sessionStorage.setItem('adaptive-decoding-form', {stored})")
        form.reload()
        form.wait_for_selector(".pg-specinput")
        assert form.locator(".pg-policy").count() == 2
        assert not [said for said in form.problems if "is not a function" in said]  # type: ignore[attr-defined]
        form.wait_for_function(f"{strange}.some((value) => Array.isArray(value) && value.length === 2)")
    for stored in ("no json", "[1]", '{"compare": ["too", "short"], "tab": "nowhere"}'):
        form.evaluate("text => sessionStorage.setItem('adaptive-decoding-form', text)", stored)
        form.reload()
        form.wait_for_selector(".pg-specinput")
        assert form.locator("#compare-prompt textarea").input_value()
        assert form.locator(".pg-policy").count() == 2
        expect(form.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    form.problems.clear()  # type: ignore[attr-defined]  # a reload cuts what was on its way


@pytest.mark.parametrize("seed", ["-5", "100000000000000000000", "9007199254740993", "1.5", ""])
def test_a_seed_that_cannot_be_is_refused_by_its_name_and_no_toast(form: Page, seed: str) -> None:
    form.fill("#seed input", seed)
    form.press("#seed input", "Tab")
    form.click("#generate")
    sentence = form.locator("#compare-board .pg-problem >> visible=true")
    expect(sentence).to_contain_text("Seed must be a whole number from 0 to 9,007,199,254,740,991, got ")
    expect(sentence).not_to_contain_text("740,992")  # what the browser had made of it
    assert form.locator(".toast-body").count() == 0
    assert form.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", ["0", "-1", "513", "1000000000", "12.5", ""])
def test_a_length_that_cannot_be_is_refused_by_its_name_and_no_toast(form: Page, length: str) -> None:
    form.fill("#length input[type=number]", length)
    form.press("#length input[type=number]", "Tab")
    form.click("#generate")
    sentence = form.locator("#compare-board .pg-problem >> visible=true")
    expect(sentence).to_contain_text("Length must be a whole number from 1 to 512, got ")
    expect(form.locator("#length")).to_contain_text("1 to 512")
    assert form.locator(".toast-body").count() == 0
    assert form.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [1, 7, 512])
def test_a_length_is_taken_as_it_was_typed(form: Page, length: int) -> None:
    form.fill("#length input[type=number]", str(length))
    form.press("#length input[type=number]", "Tab")
    assert generated(form).max_tokens == length
