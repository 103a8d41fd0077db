"""What each policy does, as text from the catalogue: the README's table, the page's Methods view and its help.

One source for all three: a policy says once what it computes, where that is published and where we depart from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from playground.decoding.policies import aliases
from playground.decoding.policies.catalogue import catalogue
from playground.decoding.policies.spec import FILTER_KEYS, GROUPS, Key, PolicyKind, Spec

FEW = 3  # numbers of a policy that are said even where they are the usual ones
COLUMNS = ("policy", "rule", "source", "file", "departure", "own keys")


def named(spec: Spec) -> tuple[str, str]:
    """What a lane with this policy is called, and its knobs in words: its numbers, and whatever is not as usual.

    A policy that an alias is short for has the alias's name and key.
    """
    alias = _alias(spec)
    title, renamed = (alias.title, alias.stands_for[1]) if alias and alias.stands_for else (spec.kind.title, {})
    own = {filter_: key for key, filter_ in renamed.items()}
    numbers = [key.name for key in spec.kind.keys if key.kind in ("float", "int") and key.name != "of"]
    said = set(numbers if len(numbers) <= FEW else ()) | _changed(spec)
    listed = [key.name for key in spec.kind.all_keys if key.name in said and key.name in spec.values]
    listed.sort(key=lambda name: name not in own)
    return title, ", ".join(f"{own.get(name, name)}={spec.values[name]}" for name in listed)


def _changed(spec: Spec) -> set[str]:
    return {key.name for key in spec.kind.all_keys if spec.values.get(key.name, key.default) != key.default}


def _alias(spec: Spec) -> PolicyKind | None:
    """The alias whose filter is the one that the policy sets."""
    filters = _changed(spec) & {key.name for key in FILTER_KEYS}
    short = [a for a in aliases.KINDS if a.stands_for and a.stands_for[0].name == spec.name]
    return next((a for a in short if a.stands_for and set(a.stands_for[1].values()) == filters), None)


def grouped(kinds: Iterable[PolicyKind]) -> list[tuple[str, list[PolicyKind]]]:
    """The kinds under their headings: groups in the order of GROUPS, kinds in the order given, no empty group."""
    listed = list(kinds)
    found = [(group, [kind for kind in listed if kind.group == group]) for group in GROUPS]
    return [(group, members) for group, members in found if members]


def file_of(kind: PolicyKind) -> str:
    """The file that computes it, from the root of the repository."""
    return kind.module.replace(".", "/") + ".py"


def order_of(kind: PolicyKind) -> tuple[str, ...]:
    """What is done to the logits before the filters, in order."""
    maker = kind.build or kind.decoder or (kind.stands_for[0].build if kind.stands_for else None)
    order: tuple[str, ...] = getattr(maker, "order", ("temperature",))
    return order


def described(kind: PolicyKind) -> dict[str, Any]:
    """Everything the page says about a kind, as plain values."""
    return {
        "name": kind.name,
        "title": kind.title,
        "group": kind.group,
        "summary": _plain(kind.summary),
        "formula": kind.formula,
        "source": kind.source,
        "departure": _plain(kind.departure),
        "file": file_of(kind),
        "streams": kind.streams,
        "needs_source": bool(getattr(kind.build, "needs_source", False)),
        "stands_for": kind.stands_for[0].name if kind.stands_for else "",
        "order": list(order_of(kind)),
        "keys": described_keys(kind.keys),
        "channels": [
            {"title": channel.title, "unit": channel.unit, "help": _plain(channel.help)} for channel in kind.channels
        ],
    }


def described_keys(keys: Iterable[Key]) -> list[dict[str, Any]]:
    """Knobs as plain values, with what each allows in words."""
    return [asdict(key) | {"help": _plain(key.help), "allowed": key.allowed} for key in keys]


def _plain(text: str) -> str:
    """Without the quotes of Markdown, which the page does not read."""
    return text.replace("`", "")


def table(kinds: Sequence[PolicyKind] | None = None) -> str:
    """Every policy as one line of a Markdown table, group by group."""
    listed = catalogue({}).kinds if kinds is None else kinds
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for _, members in grouped(listed):
        rows += [_row(kind) for kind in members]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _row(kind: PolicyKind) -> tuple[str, ...]:
    return (
        f"`{kind.name}`",
        f"`{kind.formula}`",
        kind.source,
        f"`{file_of(kind)}`",
        kind.departure.rstrip(".") or "none",
        ", ".join(f"`{key.name}`" for key in kind.keys) or "none",
    )
