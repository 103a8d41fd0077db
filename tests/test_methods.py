"""What is said about the policies: complete, true to the files, and a table that Markdown can read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.spec import GROUPS
from playground.methods import COLUMNS, described, file_of, grouped, table

ROOT = Path(__file__).resolve().parent.parent
KINDS = catalogue({}).kinds


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_policy_stands_once_under_a_known_heading() -> None:
    listed = [kind for _, kinds in grouped(KINDS) for kind in kinds]
    assert sorted(kind.name for kind in listed) == sorted(kind.name for kind in KINDS)
    assert [group for group, _ in grouped(KINDS)] == [g for g in GROUPS if any(kind.group == g for kind in KINDS)]


def test_the_table_has_a_full_row_a_policy_whatever_stands_in_its_formula() -> None:
    odd = replace(KINDS[0], formula="T = |a| if x | y")
    rows = [cells(line) for line in table([odd, *KINDS[1:]]).splitlines()]
    assert rows[0] == list(COLUMNS)
    assert all(len(row) == len(COLUMNS) and all(row) for row in rows)
    assert len(rows) == len(KINDS) + 2
    assert "`T = \\|a\\| if x \\| y`" in [row[1] for row in rows]


def test_every_policy_names_a_formula_a_source_and_a_file_that_is_there() -> None:
    for kind in KINDS:
        assert kind.title, kind.name
        assert kind.summary.endswith("."), kind.name
        assert kind.formula, kind.name
        assert re.search(r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b|ours", kind.source), kind.name
        assert (ROOT / file_of(kind)).is_file(), kind.name


def test_what_the_page_is_told_is_plain_and_says_what_every_knob_allows() -> None:
    for kind in KINDS:
        told = json.loads(json.dumps(described(kind), allow_nan=False))
        assert [key["name"] for key in told["keys"]] == [key.name for key in kind.keys]
        assert all(key["help"] and key["allowed"] for key in told["keys"]), kind.name
        assert told["order"], kind.name
        assert "`" not in json.dumps(told), kind.name
