"""What comes out of the codec is what went in, bit for bit, and damage is noticed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from playground.decoding.trace import Alternative, Trace, canonical_json
from playground.feedback.trace_codec import pack, unpack
from tests.samples import ADAPTIVE, FIXED, make_trace


@pytest.mark.parametrize("spec", [FIXED, ADAPTIVE])
@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_a_trace_comes_back_equal(spec: str, tokens: int) -> None:
    for seed in range(5):
        _assert_same(make_trace(seed, tokens, spec))


def _assert_same(trace: Trace) -> None:
    back = unpack(pack(trace))
    assert back == trace
    assert canonical_json(back.to_record()) == canonical_json(trace.to_record())


def test_unusual_values_come_back_equal() -> None:
    trace = make_trace(1, 6, ADAPTIVE)
    first, second, third, fourth, *rest = trace.steps
    odd = [
        replace(first, logprob=-math.inf, grid_logprob=-math.inf, temperature=1 / 3),
        replace(second, channel={"z": 1e-300, "a": 0.1}, alternatives=()),
        replace(third, grid_index=None, grid_logprob=None, grid_probs=None, entropy=-0.0, text="\0\u2028\ufeff"),
        replace(fourth, alternatives=(Alternative(1, "x", 0.5, 1e-45), Alternative(1, "y", 0.25, 0.0))),
    ]
    _assert_same(trace.with_steps([*odd, *rest], "length"))
    _assert_same(replace(trace, text="not what the steps join to", source_ids=(1, 2), checkpoint=None, grid=(0.1, 0.2)))
    _assert_same(trace.with_steps([replace(step, position=step.position + 3) for step in trace.steps], "end"))


def test_any_flipped_bit_is_noticed() -> None:
    trace = make_trace(2, 30, ADAPTIVE)
    blob = pack(trace)
    draw = random.Random(0)
    for _ in range(100):
        damaged = bytearray(blob)
        damaged[draw.randrange(len(blob))] ^= 1 << draw.randrange(8)
        with pytest.raises(ValueError, match="trace"):
            unpack(bytes(damaged))


@pytest.mark.parametrize("blob", [b"", b"x", pack(make_trace())[:-1], pack(make_trace()) + b"x"])
def test_what_is_no_packed_trace_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="stored trace"):
        unpack(blob)


@pytest.mark.parametrize(("spec", "factor"), [(FIXED, 6.5), (ADAPTIVE, 5.5)])
def test_a_blob_is_a_fraction_of_the_record(spec: str, factor: float) -> None:
    """300 tokens with five alternatives; the floats of the sample have no redundancy to speak of."""
    trace = make_trace(3, 300, spec)
    assert len(pack(trace)) * factor < len(canonical_json(trace.to_record()).encode())
