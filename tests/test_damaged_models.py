"""Every kind of damage once: the reference's tokens or one sentence; and the harness itself finds what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.damage import bases
from benchmarks.damage.__main__ import record, shown, table, tried
from benchmarks.damage.attempt import Given
from benchmarks.damage.judge import FAULT, sentence_fault, verdict
from benchmarks.damage.kind import EITHER, REFUSED, RIGHT, Kind
from benchmarks.damage.processes import CutShortError, Processes
from benchmarks.damage.references import Answer
from benchmarks.damage.variants import KINDS, variant

NOTHING = Given(sentence="No.")


def kind(may: str = EITHER, says: str = "") -> Kind:
    return Kind("a kind", lambda path, rng: "", may, says=says)


def test_a_number_is_one_variant(tmp_path: Path) -> None:
    bases.make(tmp_path / "bases")
    told, numbers = [], range(0, len(KINDS), 4)
    for place in ("one", "two"):
        for number in numbers:
            (tmp_path / place / str(number)).mkdir(parents=True)
            told.append(variant(number, 3).make(tmp_path / "bases", tmp_path / place / str(number))[1])
    once, again = told[: len(numbers)], told[len(numbers) :]
    assert once == again
    assert all(once)
    after = variant(7 + len(KINDS), 3)
    assert (after.kind, after.base != variant(7, 3).base) == (KINDS[7], True)


def test_damage_gives_the_references_tokens_or_one_sentence() -> None:
    """Every second kind; `python -m benchmarks.damage` goes through all of them, many times."""
    found = tried(range(0, len(KINDS), 2))
    faults = [shown(one) for one in found if one.worst.what == FAULT]
    assert not faults, "\n".join(faults)
    assert sum(one.worst.what == RIGHT for one in found) > len(found) // 6


def test_undamaged_models_and_stray_files_are_not_faults(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = [KINDS.index(one) + len(KINDS) * turn for one in KINDS[:1] for turn in (1, 2)]
    found = tried(numbers)
    assert [(one.variant.base, one.worst.what) for one in found] == [("qwen3", RIGHT), ("gemma2", RIGHT)]
    assert f"| {KINDS[0].name} | 2 | 2 | 0 | 0 |" in table(found)
    assert all(record(one)["recipe"] and shown(one) for one in found)
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "again", "answer", "may", "expected"),
    [
        (Given((1,), (2,), "float32"), Given((1,), (2,), "float32"), Answer("", 0.0, ((1,),)), RIGHT, RIGHT),
        (Given((1,), (2,), "float32"), Given((1,), (3,), "float32"), Answer("", 0.0, ((1,),)), EITHER, FAULT),
        (Given((1,), (2,), "float32"), Given((1,), (2,), "float32"), Answer("", 0.5, ((1,),)), EITHER, FAULT),
        (Given((1,), (2,), "bfloat16"), Given((1,), (2,), "bfloat16"), Answer("", 0.4, ((1,),)), EITHER, RIGHT),
        (Given((1,), (2,), "float32"), Given((1,), (2,), "float32"), Answer("", float("nan"), ((1,),)), EITHER, FAULT),
        (Given((1,), (2,), "float32"), Given((1,), (2,), "float32"), Answer("", 0.0, ((4,),)), EITHER, FAULT),
        (Given((1,), (2,), "float32"), Given((1,), (2,), "float32"), Answer("nothing"), EITHER, FAULT),
        (Given((1,), (2,), "float32"), Given((1,), (2,), "float32"), Answer("", 0.0, ((1,),)), REFUSED, FAULT),
        (NOTHING, NOTHING, None, EITHER, REFUSED),
        (NOTHING, NOTHING, None, RIGHT, FAULT),
        (NOTHING, Given((1,), (2,), "float32"), None, EITHER, FAULT),
        (Given(fault="KeyError"), NOTHING, None, EITHER, FAULT),
    ],
)
def test_what_may_come_is_judged(given: Given, again: Given, answer: Answer | None, may: str, expected: str) -> None:
    assert verdict(kind(may), given, again, answer, False).what == expected


@pytest.mark.parametrize(
    "said",
    [
        "",
        "KeyError: 'x'.",
        "Two\nlines.",
        "x" * 500 + ".",
        "Traceback (most recent call last).",
        "<class 'int'> is wrong.",
        "'NoneType' it is.",
        "without an end",
    ],
)
def test_a_message_that_is_no_sentence_is_a_fault(said: str) -> None:
    assert sentence_fault(said)
    assert not sentence_fault("The file is a pointer of Git LFS.", "Git LFS")
    assert sentence_fault("The file is a pointer.", "Git LFS")


def _hangs() -> None:
    import time

    time.sleep(60)


def _crashes() -> None:
    import os

    os._exit(139)


def test_what_hangs_or_crashes_is_told() -> None:
    processes = Processes(1.0)
    with pytest.raises(CutShortError, match="no answer after 1 s"):
        processes.call(_hangs)
    with pytest.raises(CutShortError, match="ended with 139"):
        Processes(60.0).call(_crashes)
