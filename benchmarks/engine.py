"""Tokens a second of one, two and four lanes beside transformers' `generate`, llama.cpp and the bare model.

Same weights, same machine, same run. A side's figure is tokens over the seconds from the request to the last token, the
prompt read included; a round goes over all sides, and a ratio is the median of the rounds' ratios. The same ratio by
processor time of all threads is given for machines on which other programs run. Lanes have their full trace on.
transformers answers one prompt after the other, llama.cpp as many at once as there are lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.measure.asked import Asked
from benchmarks.measure.lanes import FIXED, Timed, decode, endless, prompt_of
from benchmarks.measure.machine import conditions, read_bandwidth
from benchmarks.measure.result import Result, Table, Value, target
from benchmarks.measure.rounds import LEAST, Spread, in_turns, ratios
from benchmarks.measure.weights import gguf_of, weight_bytes
from benchmarks.yardsticks.bare_loop import greedy, seconds_a_step
from benchmarks.yardsticks.llama_cpp import LlamaCpp, UnavailableError
from benchmarks.yardsticks.transformers_generate import Generate
from playground.parts import Parts, load_parts

TITLE = "tokens a second of 1, 2 and 4 lanes, beside transformers' generate, llama.cpp and the bare model"
LANES = (1, 2, 4)
TEMPERATURE = 0.7
WARM = LEAST  # the number of the round before the first, whose figures are thrown away
LEARNED = "adaptive-token"
ASKED_OF_TRANSFORMERS = {("float32", 2): 6.0, ("float32", 4): 8.0, ("bfloat16", 2): 4.0, ("bfloat16", 4): 6.0}
ASKED_OF_LLAMA = {1: 0.6, 2: 0.85, 4: 1.0}
GOAL_OF_LLAMA = {1: 1.0, 2: 1.5, 4: 1.5}
MOST_OVERHEAD = 1.10

Rates = dict[str, list[Timed]]


def run(asked: Asked) -> Result:
    tokens, slow_tokens = asked.size(128, 32), asked.size(64, 16)
    parts = endless(load_parts(asked.settings))
    learned = LEARNED if LEARNED in {head.meta.kind for head in parts.heads} else "edt"
    measures, server, notes = _sides(asked, parts, learned, tokens, slow_tokens)
    try:
        for measure in measures.values():
            measure(WARM)
        asked.progress("every side has run once")
        found: Rates = in_turns(measures, LEAST)
    finally:
        if server is not None:
            server.close()
    asked.progress("rounds done")
    tables = [_beside(found, learned), _overhead(found, learned), _bound(parts, asked)]
    asked.progress("bandwidth read")
    how = conditions("transformers", model=parts.language_model, rounds=LEAST, tokens_a_lane=tokens)
    how["tokens a reply of generate"] = slow_tokens
    return Result("engine", how, tables, notes)


def _sides(
    asked: Asked, parts: Parts, learned: str, tokens: int, slow_tokens: int
) -> tuple[dict[str, Callable[[int], Timed]], LlamaCpp | None, list[str]]:
    """Every side by its name: one timed piece of work a round."""
    model = parts.language_model
    sides: dict[str, Callable[[int], Timed]] = {}
    for lanes in LANES:
        for spec in (FIXED, learned):
            sides[f"{lanes} {spec}"] = partial(decode, parts, [spec] * lanes, tokens)
        sides[f"{lanes} bare"] = lambda number, lanes=lanes: greedy(model, prompt_of(number), lanes, tokens)  # type: ignore[misc]
    for dtype in ("float32", "bfloat16"):
        plain = Generate(asked.settings, dtype)
        sides[dtype] = lambda number, plain=plain: plain.reply(  # type: ignore[misc]
            prompt_of(number), slow_tokens, TEMPERATURE, number
        )
    server, note = llama_cpp(asked)
    if server is not None:
        for lanes in LANES:
            sides[f"{lanes} llama.cpp"] = partial(_slots, server, parts, lanes, tokens)
    return sides, server, [note]


def llama_cpp(asked: Asked) -> tuple[LlamaCpp | None, str]:
    gguf = gguf_of(asked.settings)
    if gguf is None:
        return None, "llama.cpp was not measured: it reads GGUF files, and this model is none."
    try:
        server = LlamaCpp(gguf, LANES, torch.get_num_threads())
    except UnavailableError as error:
        return None, str(error)
    return server, f"llama.cpp: {server.build}."


def _slots(server: LlamaCpp, parts: Parts, slots: int, tokens: int, number: int) -> Timed:
    ids = parts.language_model.encode_chat(prompt_of(number))
    return Timed(**server.replies(slots, ids, tokens, TEMPERATURE, number))


def _beside(found: Rates, learned: str) -> Table:
    """Our lanes, then every yardstick with the ratio of the `fixed` lanes to it."""
    rows: list[dict[str, Value]] = []
    for lanes in LANES:
        ours = found[f"{lanes} {FIXED}"]
        for spec in (FIXED, learned):
            rows.append({"lanes": lanes, "side": spec, **_figures(found[f"{lanes} {spec}"])})
        for dtype in ("float32", "bfloat16"):
            row = _against(ours, found[dtype], ASKED_OF_TRANSFORMERS.get((dtype, lanes)))
            rows.append({"lanes": lanes, "side": f"transformers {dtype}, {lanes} in sequence", **row})
        if f"{lanes} llama.cpp" in found:
            row = _against(ours, found[f"{lanes} llama.cpp"], ASKED_OF_LLAMA[lanes])
            row["goal"] = f"≥ {GOAL_OF_LLAMA[lanes]:g}"
            rows.append({"lanes": lanes, "side": f"llama.cpp, {lanes} slots", **row})
    columns = {"lanes": "d", "side": "", "tokens/s": ".1f", "decoding only": ".1f", "ours ÷ it": ".2f"}
    columns |= {"by processor time": ".2f", "decoding ours ÷ it": ".2f", "target": "", "met": "", "goal": ""}
    return Table(f"Tokens a second (ours is {FIXED})", columns, rows)


def _figures(side: list[Timed]) -> dict[str, Value]:
    decoding = Spread.of([timed.decode_rate for timed in side]) if side[0].decode_seconds < side[0].seconds else None
    return {"tokens/s": Spread.of([timed.rate for timed in side]), "decoding only": decoding}


def _against(ours: list[Timed], yardstick: list[Timed], least: float | None) -> dict[str, Value]:
    ratio = ratios([timed.rate for timed in ours], [timed.rate for timed in yardstick])
    work = [timed.processor_rate for timed in ours], [timed.processor_rate for timed in yardstick]
    row = _figures(yardstick) | {"ours ÷ it": ratio, "by processor time": ratios(*work)}
    if row["decoding only"] is not None:
        rates = [timed.decode_rate for timed in ours], [timed.decode_rate for timed in yardstick]
        row["decoding ours ÷ it"] = ratios(*rates)
    return row | (target(ratio, least=least) if least is not None else {})


def _overhead(found: Rates, learned: str) -> Table:
    """Decoding time of a lane with its full trace and a learned policy over that of a bare greedy loop."""
    rows: list[dict[str, Value]] = []
    for lanes in LANES:
        alone = found[f"{lanes} bare"]
        bare = [1 / timed.decode_rate for timed in alone]
        for spec in (FIXED, learned):
            ours = found[f"{lanes} {spec}"]
            ratio = ratios([1 / timed.decode_rate for timed in ours], bare)
            work = ratios([timed.processor_seconds for timed in ours], [timed.processor_seconds for timed in alone])
            wanted = target(ratio, most=MOST_OVERHEAD) if spec == learned else {}
            step = Spread.of([1000 * lanes * seconds for seconds in bare])
            row: dict[str, Value] = {"lanes": lanes, "policy": spec, "time ÷ bare": ratio, "by processor time": work}
            rows.append({**row, "bare ms a step": step, **wanted})
    columns = {"lanes": "d", "policy": "", "time ÷ bare": ".3f", "by processor time": ".3f", "bare ms a step": ".2f"}
    columns |= {"target": "", "met": ""}
    return Table("Full trace beside a bare greedy loop of the same engine", columns, rows)


def _bound(parts: Parts, asked: Asked) -> Table:
    """What remains between a step of the model and reading its weights once from memory."""
    model = parts.language_model
    size, bandwidth = weight_bytes(model), read_bandwidth()
    rows: list[dict[str, Value]] = []
    for lanes in LANES:
        seconds = seconds_a_step(model, prompt_of(0), model.rows_for(lanes), asked.size(40, 10))
        row = {"rows": lanes, "ms a step": 1000 * seconds, "bound ms": 1000 * size / bandwidth}
        rows.append({**row, "share of the bound": size / bandwidth / seconds})
    title = f"One step beside reading {size / 1e6:.0f} MB of weights at {bandwidth / 1e9:.1f} GB/s"
    return Table(title, {"rows": "d", "ms a step": ".2f", "bound ms": ".2f", "share of the bound": ".0%"}, rows)
