"""trace/1: its identity is its content, and what is written comes back as it was."""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
import subprocess
import sys
from dataclasses import replace

import pytest

from playground.decoding.trace import Trace, canonical_json, float32_digits, nine_digits
from tests.samples import ADAPTIVE, FIXED, make_trace


@pytest.mark.parametrize("spec", [FIXED, ADAPTIVE])
@pytest.mark.parametrize("tokens", [0, 1, 30])
def test_a_record_through_json_is_the_same_trace(spec: str, tokens: int) -> None:
    trace = replace(make_trace(1, tokens, spec), source_ids=(1, 2, 3))
    line = json.dumps(trace.to_record(), ensure_ascii=False, allow_nan=False)
    back = Trace.from_record(json.loads(line))
    assert back == trace
    assert back.id == trace.id == json.loads(line)["id"]
    assert json.loads(line)["format"] == "trace/1"


def test_the_id_leaves_out_the_timings_and_nothing_else() -> None:
    trace = make_trace(2, 5, ADAPTIVE)
    assert replace(trace, timings={"decode_seconds": 99.0}).id == trace.id
    for change in ({"seed": 3}, {"replica": 1}, {"text": "x"}, {"stop": "length"}, {"noise": "shared"}, {"grid": None},
                   {"checkpoint": None}, {"revision": "2"}, {"prompt_ids": ()}, {"source_ids": (1,)}, {"order": ()}):  # fmt: skip
        assert replace(trace, **change).id != trace.id, change  # type: ignore[arg-type]
    last = replace(trace.steps[-1], channel={"kl": 0.5})
    assert trace.with_steps([*trace.steps[:-1], last], trace.stop).id != trace.id


def test_the_id_is_the_sha256_of_the_canonical_json() -> None:
    record = make_trace(3, 4).to_record()
    given = record.pop("id")
    del record["timings"]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == given


def test_minus_infinity_is_written_as_null_and_comes_back() -> None:
    trace = make_trace(4, 3, ADAPTIVE)
    step = replace(trace.steps[0], logprob=-math.inf, logprob_drawn=-math.inf, grid_logprob=-math.inf)
    trace = trace.with_steps([step, *trace.steps[1:]], "length")
    record = trace.to_record()
    assert [record["steps"][0][name] for name in ("logprob", "logprob_drawn", "grid_logprob")] == [None] * 3
    assert Trace.from_record(json.loads(json.dumps(record, allow_nan=False))) == trace


def test_no_grid_is_told_from_a_grid_choice_of_probability_zero() -> None:
    trace = make_trace(5, 2, FIXED)
    assert trace.to_record()["steps"][0]["grid_logprob"] is None
    assert Trace.from_record(trace.to_record()).steps[0].grid_logprob is None


def test_a_tampered_record_is_refused() -> None:
    for change in ({"text": "better"}, {"policy": ADAPTIVE}, {"seed": 1}, {"id": "0" * 64}):
        with pytest.raises(ValueError, match="does not match its content"):
            Trace.from_record({**make_trace().to_record(), **change})
    record = make_trace().to_record()
    record["steps"][3]["temperature"] += 1e-8
    with pytest.raises(ValueError, match="does not match its content"):
        Trace.from_record(record)


@pytest.mark.parametrize("record", [{}, {"format": "trace/2"}, {**make_trace().to_record(), "format": None}])
def test_another_format_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be 'trace/1'"):
        Trace.from_record(record)


def test_nan_never_gets_into_a_record() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"entropy": math.nan})


def test_nine_digits_identify_every_float32() -> None:
    draw = random.Random(0)
    for _ in range(5000):
        (single,) = struct.unpack("f", struct.pack("I", draw.randrange(0x7F800000)))
        written = float32_digits(single)
        assert struct.pack("f", written) == struct.pack("f", single)
        assert float(repr(written)) == nine_digits(written) == float32_digits(written) == written


def test_rounding_keeps_nine_significant_digits_and_infinities() -> None:
    assert nine_digits(1 / 3) == 0.333333333
    assert nine_digits(123456789.87) == 123456790.0
    assert float32_digits(-math.inf) == -math.inf
    assert float32_digits(0.1) == 0.100000001
    assert nine_digits(0.8) == 0.8


def test_the_end_token_is_counted_but_not_shown() -> None:
    trace = make_trace(6, 4, stop="end")
    assert trace.shown_steps == trace.steps[:-1]
    assert replace(trace, stop="length").shown_steps == trace.steps
    assert len(trace.token_ids) == 4


@pytest.mark.parametrize("module", ["playground.decoding.trace", "playground.records", "playground.ui.render",
                                    "playground.feedback.store"])  # fmt: skip
def test_plain_values_bring_no_torch_and_no_gradio(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'gradio', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
