"""The prompts that a visitor can pick from, by family. They are this project's own words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PROMPTS = Path(__file__).parent / "prompts"
FAMILIES = ("facts", "grounded", "creative", "many-answers", "instruction", "chat")


@dataclass(frozen=True, slots=True)
class GalleryPrompt:
    """One prompt.

    prefill  begins the reply
    system   the system prompt, or None for the model's own
    source   a document the reply should rely on, put before the prompt
    """

    id: str
    family: str
    title: str
    prompt: str
    prefill: str = ""
    system: str | None = None
    source: str | None = None


def load_gallery(path: Path = PROMPTS / "gallery.json") -> tuple[GalleryPrompt, ...]:
    """The gallery in the order of the page: family by family, as in FAMILIES."""
    prompts = tuple(GalleryPrompt(**record) for record in json.loads(path.read_text(encoding="utf-8")))
    return tuple(prompt for family in FAMILIES for prompt in prompts if prompt.family == family)
