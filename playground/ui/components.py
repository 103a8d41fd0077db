"""The page's own components: each a `gr.HTML` with a constant template and a script from static/.

No template holds model text, a prompt or a `{{}}`: Gradio evaluates templates. What changes reaches the browser as the
value; what stays reaches the script as the constant `fixed`, since Gradio serialises and may drop further props.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from playground.decoding.policies.spec import FILTER_KEYS, PolicyKind, spelt
from playground.gallery import GalleryPrompt
from playground.methods import described, described_keys, grouped
from playground.parts import Parts
from playground.ui import faults
from playground.ui.lanes import MOST, streamed
from playground.ui.runs import Runs
from playground.ui.scales import scales
from playground.ui.wire import snapshot

STATIC = Path(__file__).parents[2] / "static"
ADDED_LANES = ("fixed:temperature=1.0", "edt")


def component(script: str, value: Any, functions: Sequence[Callable[..., Any]] = (), **fixed: Any) -> gr.HTML:
    """The component whose script is static/SCRIPT.js and whose root has the class pg-SCRIPT.

    `before` names scripts that stand before it, in one scope with it.
    """
    elem_id = fixed.pop("elem_id", f"pg-{script}")
    files = [STATIC / f"{name}.js" for name in (*fixed.pop("before", ()), script)]
    code = [f"const fixed = {json.dumps(fixed)};", *(file.read_text(encoding="utf-8") for file in files)]
    return gr.HTML(
        value,
        html_template=f'<div class="pg-{script}"></div>',
        js_on_load="\n".join(code),
        apply_default_css=False,
        server_functions=[_answered(call) for call in functions],
        elem_id=elem_id,
    )


def board(runs: Runs, elem_id: str, empty: str, stop: str = "", charts: str = "") -> gr.HTML:
    """The heatmap of a run's lanes; resync and inspection answer from `runs`, or with the sentence of a refusal.

    `stop` is the id of the button that stops a run: the board then comes into sight with each run and offers it too.
    `charts` is the id of what holds the charts over the run, which point at tokens and are pointed at. Its event `overlay`
    says that the visitor chose another one (coloured_by.js reads which).
    """

    def resync(asked: dict[str, Any]) -> dict[str, Any]:
        return snapshot(runs.get(asked.get("run")), _counts(asked.get("have")))

    def inspect(asked: dict[str, Any]) -> dict[str, Any]:
        return runs.get(asked.get("run")).inspect(_int(asked, "lane"), _int(asked, "position"))

    listed = [scale.to_record() for scale in scales()]
    return component(
        "board",
        None,
        (resync, inspect),
        before=("controls", "overlay", "places", "pointing", "card", "lanes"),
        elem_id=elem_id,
        scales=listed,
        empty=empty,
        stop=stop,
        charts=charts,
    )


def policies(parts: Parts, value: Sequence[str]) -> gr.HTML:
    """Two to four policies with their knobs; its value is the list of specs. `offer` answers with what is offered now."""

    def parse(asked: dict[str, Any]) -> dict[str, Any]:
        text = str(asked.get("spec", ""))
        streamed(parts, text)
        return {"spec": spelt(text, parts.catalogue.kinds)}

    def offer(asked: Any = None) -> list[dict[str, Any]]:
        return [_offer(parts, kind) for _, kinds in grouped(parts.catalogue.kinds) for kind in kinds if kind.streams]

    return component(
        "policies",
        list(value),
        (parse, offer),
        before=("specs", "knobs"),
        kinds=offer(),
        filters=described_keys(FILTER_KEYS),
        added=list(ADDED_LANES),
    )


def _offer(parts: Parts, kind: PolicyKind) -> dict[str, Any]:
    """A kind as the picker shows it: its knobs with the checkpoints that fit, and why it cannot run, if it cannot."""
    filters = {key.name for key in FILTER_KEYS} - {key.name for key in kind.keys}
    heads = [head.name for head in parts.heads if head.meta.kind == kind.learned]
    return described(kind) | {
        "knobs": described_keys(key for key in kind.all_keys if key.name not in filters),
        "filters": [key.name for key in kind.all_keys if key.name in filters],
        "checkpoints": heads,
        "missing": missing(parts, kind),
    }


def missing(parts: Parts, kind: PolicyKind) -> str:
    """Why a learned policy cannot run with the loaded model, or an empty string. A control runs by another lane too."""
    if kind.learned == "difficulty-probe" or (kind.learned == "tuned-lens" and parts.settings.small_model):
        return ""  # a preset by hand, or a small model of its own, stands in for it
    if not kind.learned or kind.control or any(head.meta.kind == kind.learned for head in parts.heads):
        return ""
    return f"no trained {kind.learned} fits {parts.language_model.name}"


def gallery(prompts: Sequence[GalleryPrompt], elem_id: str) -> gr.HTML:
    """The gallery as chips; its event `pick` carries the id of a prompt."""
    listed = [{"id": p.id, "family": p.family, "title": p.title, "prompt": p.prompt} for p in prompts]
    return component("gallery", None, elem_id=elem_id, prompts=listed)


def _answered(call: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    """`call`, of whatever a browser sends; what fails is answered with its sentence."""

    @functools.wraps(call)
    def answer(asked: Any = None) -> Any:
        try:
            return call(asked if isinstance(asked, dict) else {})
        except Exception as error:
            return {"error": faults.sentence(error)}

    return answer


def _counts(value: Any) -> list[int]:
    """What the browser says it has of every lane; nothing where that is no list of counts."""
    counts = value if isinstance(value, list) and len(value) <= MOST else []
    return [max(0, count) for count in counts] if all(isinstance(count, int) for count in counts) else []


def _int(asked: dict[str, Any], key: str) -> int:
    value = asked.get(key)
    return value if isinstance(value, int) else -1
