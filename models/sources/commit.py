"""The commit of a Hub repository that a model is read at, so that all its files are of one state that a trace can name."""

from __future__ import annotations

from pathlib import Path

from transformers.utils import cached_file


def commit_of(repository: str, revision: str | None) -> str | None:
    """The commit that `revision`, or else the main branch, means now; None where neither the Hub nor its cache tells."""
    try:
        found = cached_file(repository, "config.json", revision=revision)
    except Exception:  # the network's own errors have no common class; what then loads the model says what is wrong
        return None
    parts = Path(str(found)).parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None
