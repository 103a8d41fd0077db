"""Counts in words: "1 token", "2 tokens"."""

from __future__ import annotations


def several(count: float, noun: str, many: str = "") -> str:
    """`count` and its noun; `many` where the plural is not the noun with an s."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"
