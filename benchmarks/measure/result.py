"""What a benchmark found: rows of plain values. The printed table and the JSON line are two forms of the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measure.rounds import Spread

FORMAT = "benchmark/1"
Value = str | int | float | bool | Spread | None


@dataclass(frozen=True)
class Table:
    """Rows under one title. `columns` names each column and how its numbers are printed (a format such as `.1f`)."""

    title: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Value]]

    def text(self) -> str:
        """The table in Markdown; a value that a row lacks is a dash."""
        cells = [[_shown(row.get(name), form) for name, form in self.columns.items()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        lines = [self.columns, ["-" * width for width in widths], *cells]
        drawn = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
        return "\n".join([f"**{self.title}**", "", *drawn])


@dataclass(frozen=True)
class Result:
    """One benchmark's findings. `how` says how it was measured, `notes` what a reader of the table must know, `failed`
    in one sentence what must not be and was found.
    """

    benchmark: str
    how: Mapping[str, Value]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    failed: str = ""

    def text(self) -> str:
        """How it was measured, the tables, the notes."""
        how = ", ".join(f"{name} {_shown(value, 'g')}" for name, value in self.how.items())
        return "\n\n".join([f"{self.benchmark}: {how}", *(table.text() for table in self.tables), *self.notes])

    def line(self) -> str:
        """One line of JSON (benchmark/1): every row of every table, six significant digits."""
        record: dict[str, Any] = {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "how": _plain(self.how),
            "tables": {table.title: [_plain(row) for row in table.rows] for table in self.tables},
            "notes": list(self.notes),
        }
        return json.dumps(record, ensure_ascii=False, allow_nan=False)


def target(value: Spread | float, least: float | None = None, most: float | None = None) -> dict[str, Value]:
    """The columns `target` and `met` of a figure that must not lie below `least` or above `most`."""
    figure = value.median if isinstance(value, Spread) else value
    if least is not None:
        return {"target": f"≥ {least:g}", "met": figure >= least}
    assert most is not None
    return {"target": f"≤ {most:g}", "met": figure <= most}


def _shown(value: Value, form: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, Spread):
        return value.shown(form)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else format(value, form or "")


def _plain(row: Mapping[str, Value]) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in row.items()}


def _rounded(value: Any) -> Any:
    """Six significant digits, more than any measurement here has."""
    if isinstance(value, Spread):
        return {name: _rounded(number) for name, number in asdict(value).items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value
