"""A trace as a small blob: columnar JSON beside float32 planes, under zlib. What comes out is what went in.

Layout, before zlib: canonical JSON, a NUL byte, then the planes. A column whose values are all float32 values (most
are) is kept as four byte planes, so that signs and exponents lie together and compress; any other column stays in the
JSON. Texts that a token id already explains are left out. Floats, texts and order come back exactly, and the trace's
own sha256 is checked on the way out.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from playground.decoding.trace import Trace, canonical_json, float32_digits

FORMAT = "packed-trace/1"
LIMIT = 64 * 2**20  # bytes after decompression: no stored trace comes near it
STEP_FLOATS = ("temperature", "grid_logprob", "entropy", "entropy_after", "logprob", "logprob_drawn")


def pack(trace: Trace) -> bytes:
    """The blob of a trace."""
    record = trace.to_record()
    steps: list[dict[str, Any]] = record.pop("steps")
    flat = [alternative for step in steps for alternative in step["alternatives"]]
    texts = {alternative["id"]: alternative["text"] for alternative in flat}
    planes: list[bytes] = []

    def floats(values: list[Any]) -> Any:
        return _float_column(values, planes)

    if record["text"] == "".join(step["text"] for step in steps):
        record["text"] = None
    columns: dict[str, Any] = {name: floats([step[name] for step in steps]) for name in STEP_FLOATS}
    columns["position"] = _positions([step["position"] for step in steps])
    columns["token_id"] = [step["token_id"] for step in steps]
    columns["text"] = _unexplained(columns["token_id"], [step["text"] for step in steps], texts)
    columns["grid_index"] = [step["grid_index"] for step in steps]
    columns["grid_sizes"] = [None if step["grid_probs"] is None else len(step["grid_probs"]) for step in steps]
    columns["grid_probs"] = floats([p for step in steps for p in step["grid_probs"] or ()])
    columns["channel_keys"] = [list(step["channel"]) for step in steps]
    columns["channel"] = floats([value for step in steps for value in step["channel"].values()])
    ids = [alternative["id"] for alternative in flat]
    alternatives = {
        "counts": [len(step["alternatives"]) for step in steps],
        "id": ids,
        "text": _unexplained(ids, [alternative["text"] for alternative in flat], texts),
        "prob": floats([alternative["prob"] for alternative in flat]),
        "prob_after": floats([alternative["prob_after"] for alternative in flat]),
    }
    vocabulary = [[token, text] for token, text in texts.items()]
    head: dict[str, Any] = {
        "packed": FORMAT,
        "trace": record,
        "texts": vocabulary,
        "steps": columns,
        "alternatives": alternatives,
    }
    head["timings_crc"] = _crc(record["timings"])  # they are no part of the trace's own hash
    return zlib.compress(canonical_json(head).encode() + b"\0" + b"".join(planes), 9)


def unpack(blob: bytes) -> Trace:
    """The trace of a blob. Raises ValueError where the blob is damaged or its content does not match its id."""
    try:
        return Trace.from_record(_record(blob))
    except ValueError:
        raise
    except Exception as error:  # damaged bytes can fail in any way: too deep, too large, of another type
        raise ValueError(f"a stored trace is damaged ({type(error).__name__})") from None


def _record(blob: bytes) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    body = inflater.decompress(blob, LIMIT)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("a stored trace is damaged (incomplete)")
    text, _, rest = body.partition(b"\0")
    head = json.loads(text)
    if head["packed"] != FORMAT:
        raise ValueError(f"a stored trace must be {FORMAT!r}, got {head['packed']!r}")
    planes = _Planes(rest)
    texts: dict[int, str] = dict(head["texts"])
    columns, stored = head["steps"], head["alternatives"]
    # planes are read in the order in which `pack` wrote them
    values = {name: planes.column(columns[name]) for name in STEP_FLOATS}
    grid_probs, channel = iter(planes.column(columns["grid_probs"])), iter(planes.column(columns["channel"]))
    probabilities = zip(
        stored["id"],
        _explained(stored["id"], stored["text"], texts),
        planes.column(stored["prob"]),
        planes.column(stored["prob_after"]),
        strict=True,
    )
    count = len(columns["token_id"])
    values["position"] = list(range(count)) if columns["position"] is None else columns["position"]
    values["token_id"] = columns["token_id"]
    values["text"] = _explained(columns["token_id"], columns["text"], texts)
    values["grid_index"] = columns["grid_index"]
    steps = []
    for i in range(count):
        step = {name: column[i] for name, column in values.items()}
        size = columns["grid_sizes"][i]
        step["grid_probs"] = None if size is None else [next(grid_probs) for _ in range(size)]
        step["channel"] = {key: next(channel) for key in columns["channel_keys"][i]}
        chosen = [next(probabilities) for _ in range(stored["counts"][i])]
        step["alternatives"] = [dict(zip(("id", "text", "prob", "prob_after"), row, strict=True)) for row in chosen]
        steps.append(step)
    record: dict[str, Any] = head["trace"]
    if head.get("timings_crc", crc := _crc(record["timings"])) != crc:  # older blobs have none
        raise ValueError("a stored trace is damaged (timings)")
    if record["text"] is None:
        record["text"] = "".join(values["text"])
    return {**record, "steps": steps}


def _crc(value: Any) -> int:
    return zlib.crc32(canonical_json(value).encode())


def _float_column(values: list[Any], planes: list[bytes]) -> Any:
    """The column's length, its bytes appended to `planes`; or the values themselves where float32 cannot hold them."""
    if not values or not all(_is_float32(value) for value in values):
        return values
    raw = struct.pack(f"<{len(values)}f", *values)
    planes.extend(raw[byte::4] for byte in range(4))
    return len(values)


def _is_float32(value: Any) -> bool:
    if type(value) is not float or not math.isfinite(value):
        return False
    try:
        return math.copysign(1, float32_digits(value)) == math.copysign(1, value) and float32_digits(value) == value
    except OverflowError:
        return False


class _Planes:
    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def column(self, stored: Any) -> list[Any]:
        if not isinstance(stored, int):
            return list(stored)
        block = self._raw[self._at : self._at + 4 * stored]
        self._at += 4 * stored
        joined = bytearray(4 * stored)
        for byte in range(4):
            joined[byte::4] = block[byte * stored : (byte + 1) * stored]
        return [float32_digits(value) for value in struct.unpack(f"<{stored}f", joined)]


def _positions(positions: list[int]) -> list[int] | None:
    return None if positions == list(range(len(positions))) else positions


def _unexplained(ids: Sequence[int], column: Sequence[str], texts: dict[int, str]) -> list[str | None]:
    """The column with None where the id's usual text is meant."""
    return [None if texts.get(token) == text else text for token, text in zip(ids, column, strict=True)]


def _explained(ids: Sequence[int], column: Sequence[str | None], texts: dict[int, str]) -> list[str]:
    return [texts[token] if text is None else text for token, text in zip(ids, column, strict=True)]
