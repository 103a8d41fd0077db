"""The whole page: header and tabs, and how it is served."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from playground.config import Settings
from playground.errors import PlaygroundError
from playground.glossary import WORDS
from playground.parts import Parts
from playground.ui import arena, compare, faults, methods, notice, train
from playground.ui.components import STATIC, component
from playground.ui.gate import Gate
from playground.ui.inputs import unoffered
from playground.ui.kept import KEY, Kept
from playground.ui.operators import Operators
from playground.ui.places import Places
from playground.ui.preview import Preview
from playground.ui.render import precise
from playground.ui.runs import Runs

NAME = "Adaptive decoding"
LEAD = (
    "A language model usually writes at one fixed temperature. Here a small trained head, or a rule, chooses a "
    "temperature for every token, and colour shows which."
)
COMMIT = re.compile(r"[0-9a-f]{40,}")
QUEUE = 32
MANY = 40  # visitors whom a decoder for many serves or queues itself
THREADS = 80
SESSIONS = 2000
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
SOFT = ("#5c5f68", "#b3b5ba")  # style.css: --pg-soft, on light and on dark
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


class Page(gr.Blocks):
    """Blocks that are always launched with `launch_options` behind the gate, whoever launches them."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self.settings, self.operators = settings, Operators(settings.port)

    def launch(self, *given: Any, **options: Any) -> Any:
        """As `Blocks.launch`; what is not given is as `launch_options` has it."""
        before = [
            Middleware(Gate, page=self),
            Middleware(Preview, title=str(self.title), description=LEAD),
        ]
        options["app_kwargs"] = {**(options.get("app_kwargs") or {}), "middleware": before}
        return super().launch(*given, **{**launch_options(self.settings), **options})

    async def process_api(
        self, block_fn: Any, inputs: list[Any], state: Any = None, request: Any = None, **options: Any
    ) -> Any:
        """As `Blocks.process_api`, for every event of the page: a fault is one sentence and no traceback with values.

        Nothing that was sent is kept in the session, and no copy of the page (a quarter of a MiB for each visitor): Gradio
        keeps both for links that the gate does not answer.
        """
        if state is not None:
            state._update_value_in_config, state.config_values = _not_kept, _Nothing()
        try:
            if wrong := unoffered(block_fn.inputs, inputs, state):
                raise PlaygroundError(self._may_not(wrong[0], request) or wrong[1])
            return await super().process_api(block_fn, inputs, state, request, **options)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            raise gr.Error(faults.sentence(error), print_exception=False) from None

    def _may_not(self, field: Any, visitor: Any) -> str | None:
        """That this visitor may not train, which goes before what is wrong in a field of the Train tab."""
        return self.operators.refusal(visitor) if str(field.elem_id).startswith("train-") else None


class _Nothing(dict[int, Any]):
    """Keeps nothing."""

    def __setitem__(self, key: int, value: Any) -> None:
        return


def _not_kept(key: int, value: Any) -> None:
    return


def build(parts: Parts) -> Page:
    """The page over these parts; `launch` serves it."""
    kept = Kept()
    runs, places = Runs(), Places(MANY, waiting=0) if parts.visitors else Places(1)
    with Page(parts.settings, title=f"{NAME} playground", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        voter = gr.BrowserState(None, storage_key=notice.STORAGE_KEY, secret=notice.STORAGE_SECRET)
        reason = getattr(parts.language_model, "precision_reason", "")
        said = {"name": NAME, "lead": LEAD, "model": model_line(parts), "reason": reason, "words": list(WORDS.items())}
        component("header", None, before=("words",), **said)
        component("keys", None, before=("scrolls",), buttons=["generate", "battle"])
        with gr.Tabs() as tabs:
            with gr.Tab("Compare", id="compare") as compares:
                lanes = compare.build(parts, runs, places, voter, kept)
            with gr.Tab("Arena", id="arena") as meets:
                arena.build(parts, runs, places, voter, page, kept)
            with gr.Tab("Train", id="train") as trains:
                train.build(parts, page.operators, trains, tabs, lanes)
            with gr.Tab("Methods", id="methods") as explains:
                methods.build(parts, explains)
        component("connection", None, key=KEY, forms=kept.ids)
        kept.wire(page, tabs, (compares, meets, trains, explains))
    page.queue(max_size=QUEUE, default_concurrency_limit=8, api_open=False)
    return page


def model_line(parts: Parts) -> str:
    """Name, revision, precision and device of the loaded model, as the page shows them."""
    model = parts.language_model
    device = getattr(model, "device", "cpu")
    revision = model.revision[:12] if COMMIT.fullmatch(model.revision) else model.revision
    return f"{model.name} · revision {revision} · {precise(model.precision)} · {device}"


def launch_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `launch`: no telemetry, history, API pages or uploads, and nothing of the data folder served."""
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "theme": theme(),
        "css_paths": [STATIC / "style.css"],
        "favicon_path": STATIC / "icon.png",
        "show_error": False,
        "share": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "run_history": False,
        "pwa": False,
        "footer_links": [],
        "strict_cors": True,
        "allowed_paths": [],
        "blocked_paths": [str(settings.data_folder)],
        "max_file_size": "1kb",
        "state_session_capacity": SESSIONS,
        "max_threads": THREADS,
        "quiet": True,
    }


def theme() -> gr.themes.Base:
    """Ink on paper, so that the only strong colours are the data's. System fonts: nothing is fetched."""
    return gr.themes.Base(
        primary_hue="neutral", neutral_hue="neutral", font=FONTS, font_mono=MONOSPACE, radius_size="md", text_size="md"
    ).set(
        body_text_color_subdued=SOFT[0],
        body_text_color_subdued_dark=SOFT[1],
        block_info_text_color=SOFT[0],
        block_info_text_color_dark=SOFT[1],
        input_placeholder_color=SOFT[0],
        input_placeholder_color_dark=SOFT[1],
        body_background_fill="#fbfbf9",
        body_background_fill_dark="#141517",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1b1c1f",
        button_primary_background_fill="#1d1e22",
        button_primary_background_fill_hover="#33353b",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#ecece8",
        button_primary_background_fill_hover_dark="#ffffff",
        button_primary_text_color_dark="#17181c",
    )
