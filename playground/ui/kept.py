"""What a visitor typed and chose, kept in this tab of the browser over a reload; the server sees nothing of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from playground.ui.components import STATIC

KEY = "adaptive-decoding-form"
OPTIONS: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


class Kept:
    """The forms of the page by name; static/kept.js stores and restores them."""

    def __init__(self) -> None:
        self._forms: dict[str, list[Any]] = {}

    def add(self, name: str, components: Sequence[Any]) -> None:
        """Keep the values of these components."""
        self._forms[name] = list(components)

    @property
    def ids(self) -> dict[str, list[str]]:
        """The ids of the components of each form."""
        return {name: [str(component.elem_id) for component in form] for name, form in self._forms.items()}

    def wire(self, page: gr.Blocks, tabs: gr.Tabs, items: Sequence[gr.Tab]) -> None:
        """Store each form when it changes and the tab when it is chosen; read both when the page loads."""
        for name, components in self._forms.items():
            changes = [component.change for component in components]
            gr.on(changes, None, components, None, js=_call("save", name, "values"), **OPTIONS)
        for item in items:
            item.select(None, None, None, js=_call("save", "tab", json.dumps(item.id)), **OPTIONS)
        everything = [component for components in self._forms.values() for component in components]
        wanted = [(name, len(components)) for name, components in self._forms.items()], [item.id for item in items]
        page.load(None, None, [*everything, tabs], js=_call("load", wanted, "null"), **OPTIONS)


def _call(act: str, name: Any, values: str) -> str:
    code = (STATIC / "kept.js").read_text(encoding="utf-8").partition("*/")[2].strip()
    return f"(...values) => ({code})({json.dumps(KEY)}, {json.dumps(act)}, {json.dumps(name)}, {values})"
