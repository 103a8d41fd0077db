"""The command `python -m benchmarks.damage`: makes damaged models, tries them, and says what came of each kind of damage.

Exit 1 where anything came that may not: every fault is printed with its number, and `--only NUMBER` tries it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.damage.judge import FAULT
from benchmarks.damage.kind import REFUSED, RIGHT
from benchmarks.damage.processes import Processes
from benchmarks.damage.trials import Found, prepared, trial
from benchmarks.damage.variants import KINDS, variant

COUNT, QUICK, SECONDS = 2000, len(KINDS), 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    flags = _parser().parse_args(arguments)
    numbers = flags.only or range(QUICK if flags.quick else flags.count)
    began = time.perf_counter()
    found = tried(list(numbers), flags.seed, flags.workers, flags.only is not None)
    print(table(found))
    faults = [one for one in found if one.worst.what == FAULT]
    counts = Counter(one.worst.what for one in found)
    spent = time.perf_counter() - began
    print(f"\n{len(found)} variants, seed {flags.seed}, {spent:.0f} s: {dict(counts)}")
    if flags.json:
        flags.json.write_text(
            "".join(json.dumps(record(one), ensure_ascii=False) + "\n" for one in found), encoding="utf-8"
        )
    return 1 if faults else 0


def tried(numbers: Sequence[int], seed: int = 0, workers: int = 2, verbose: bool = False) -> list[Found]:
    """What came of these variants; faults are printed as they are found."""
    with tempfile.TemporaryDirectory() as folder:
        room, processes = Path(folder), Processes(SECONDS)
        (room / "bases").mkdir()
        processes.call(prepared, room)

        def one(number: int) -> Found:
            found = trial(variant(number, seed), room, processes)
            if verbose or found.worst.what == FAULT:
                print(shown(found), flush=True)
            return found

        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, numbers))


def shown(found: Found) -> str:
    """A variant, its recipe, and what came of it by each way in."""
    lines = [f"{found.variant.number} {found.variant.base}, {found.variant.kind.name}: {found.recipe}"[:300]]
    return "\n".join([*lines, *(f"    {way}: {one.what} {one.said}"[:700] for way, one in found.verdicts.items())])


def record(found: Found) -> dict[str, object]:
    told = {way: [one.what, one.said] for way, one in found.verdicts.items()}
    return {
        "number": found.variant.number,
        "base": found.variant.base,
        "kind": found.variant.kind.name,
        "recipe": found.recipe,
        "seconds": round(found.seconds, 2),
        "verdicts": told,
    }


def table(found: Sequence[Found]) -> str:
    """A line a kind of damage: how many gave the right tokens, a sentence, or what may not come."""
    lines = ["| damage | variants | right | refused | FAULT |", "| --- | --- | --- | --- | --- |"]
    for kind in KINDS:
        counts = Counter(one.worst.what for one in found if one.variant.kind.name == kind.name)
        if counts:
            lines.append(f"| {kind.name} | {counts.total()} | {counts[RIGHT]} | {counts[REFUSED]} | {counts[FAULT]} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.damage", description="Damaged models and what they give."
    )
    parser.add_argument("--count", type=int, default=COUNT, help=f"how many variants (default {COUNT})")
    parser.add_argument("--quick", action="store_true", help="one variant of every kind")
    parser.add_argument(
        "--only", type=int, nargs="+", metavar="NUMBER", help="these variants, with all that came of them"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="variants tried at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write one JSON line a variant")
    return parser


if __name__ == "__main__":
    sys.exit(main())
