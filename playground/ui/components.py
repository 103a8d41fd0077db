"""The page's own components: each a `gr.HTML` with a constant template and a script from static/.

No template holds model text, a prompt or a `{{}}`: Gradio evaluates templates. What changes reaches the browser as the
value; what stays reaches the script as the constant `fixed`, since Gradio serialises and may drop further props.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from playground.errors import PlaygroundError
from playground.gallery import GalleryPrompt
from playground.parts import Parts
from playground.ui.runs import Runs
from playground.ui.scales import scales
from playground.ui.wire import snapshot

STATIC = Path(__file__).parents[2] / "static"
ADDED_LANES = ("fixed:temperature=1.0", "edt")


def component(script: str, value: Any, functions: Sequence[Callable[..., Any]] = (), **fixed: Any) -> gr.HTML:
    """The component whose script is static/SCRIPT.js and whose root has the class pg-SCRIPT."""
    elem_id = fixed.pop("elem_id", f"pg-{script}")
    return gr.HTML(
        value,
        html_template=f'<div class="pg-{script}"></div>',
        js_on_load=f"const fixed = {json.dumps(fixed)};\n" + (STATIC / f"{script}.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        server_functions=list(functions),
        elem_id=elem_id,
    )


def board(runs: Runs, elem_id: str, empty: str) -> gr.HTML:
    """The heatmap of a run's lanes; resync and inspection answer from `runs`, or with the sentence of a refusal."""

    def resync(asked: dict[str, Any]) -> dict[str, Any]:
        return _answer(lambda: snapshot(runs.get(asked.get("run"))))

    def inspect(asked: dict[str, Any]) -> dict[str, Any]:
        return _answer(lambda: runs.get(asked.get("run")).inspect(_int(asked, "lane"), _int(asked, "position")))

    listed = [scale.to_record() for scale in scales()]
    return component("board", None, (resync, inspect), elem_id=elem_id, scales=listed, empty=empty)


def policies(parts: Parts, value: Sequence[str]) -> gr.HTML:
    """Two to four policies with their knobs; its value is the list of specs."""

    def parse(asked: dict[str, Any]) -> dict[str, Any]:
        return _answer(lambda: {"spec": parts.catalogue.parse(str(asked.get("spec", ""))[:2000]).short})

    kinds = [
        {"name": kind.name, "title": kind.title, "summary": kind.summary, "keys": [asdict(key) for key in kind.keys]}
        for kind in parts.catalogue.kinds
    ]
    filters = [asdict(key) for key in parts.catalogue.kinds[0].all_keys[len(parts.catalogue.kinds[0].keys) :]]
    heads = {kind["name"]: _heads(parts, str(kind["name"])) for kind in kinds}
    return component(
        "policies",
        list(value),
        (parse,),
        kinds=kinds,
        filters=filters,
        checkpoints=heads,
        added=list(ADDED_LANES),
    )


def gallery(prompts: Sequence[GalleryPrompt], elem_id: str) -> gr.HTML:
    """The gallery as chips; its event `pick` carries the id of a prompt."""
    listed = [{"id": p.id, "family": p.family, "title": p.title, "prompt": p.prompt} for p in prompts]
    return component("gallery", None, elem_id=elem_id, prompts=listed)


def _heads(parts: Parts, kind: str) -> list[str]:
    wanted = "adaptive-token" if kind == "shuffled" else kind
    return [head.name for head in parts.heads if head.meta.kind == wanted]


def _answer(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return call()
    except PlaygroundError as error:
        return {"error": str(error)}


def _int(asked: dict[str, Any], key: str) -> int:
    value = asked.get(key)
    return value if isinstance(value, int) else -1
