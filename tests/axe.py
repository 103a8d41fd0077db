"""axe-core on an open page: what it finds serious or critical, in both themes and at both widths."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

SCRIPT = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
THEMES = ("light", "dark")
SIZES = ((1280, 900), (390, 844))
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"


def still(page: Page) -> None:
    """No colour is on its way to another one when it is measured."""
    page.add_style_tag(content=STILL)
    page.evaluate(SCRIPT)


def findings(page: Page, sizes: Iterable[tuple[int, int]] = SIZES) -> list[str]:
    """What axe finds serious or critical as the page stands, one line each: theme, width, rule, element and why."""
    found = []
    for width, height in sizes:
        page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            page.evaluate("theme => document.body.classList.toggle('dark', theme === 'dark')", theme)
            page.wait_for_timeout(150)
            result = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
            assert result["passes"], "axe ran over nothing"
            found += [f"{theme} {width}: {line}" for line in _serious(result["violations"])]
    return found


def _serious(violations: list[dict[str, Any]]) -> list[str]:
    return [
        f"{rule['id']} ({node['impact']}) {' '.join(map(str, node['target']))}: {node['failureSummary'].splitlines()[-1]}"
        for rule in violations
        for node in rule["nodes"]
        if node["impact"] in ("serious", "critical")
    ]
