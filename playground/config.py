"""Settings: frozen, from command-line flags and an injected environment. Nothing else reads the environment.

Every flag is also the variable PLAYGROUND_<FLAG>; a flag wins over the variable.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

import platformdirs

from playground.errors import PlaygroundError

APPLICATION = "adaptive-decoding-playground"
EMBEDDED = "embedded"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@\w[\w./-]*)?")
NUMBERS = {"threads": (1, 1024), "port": (1, 65535)}  # the settings that are whole numbers
PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8", "gguf")


@dataclass(frozen=True)
class Settings:
    """What the parts are built from.

    model         "embedded", a Hub id, a local folder or a .gguf file
    revision      Hub revision; None is the default branch
    precision     "auto" measures once a machine; "float32", "float16", "bfloat16", "int8", "gguf" (the file's own blocks)
    device        "auto", "cpu", "cuda" or "mps"
    threads       of a pass on a CPU; None takes one for each core that other programs leave free
    small_model   the small model of `entropy-switch`, given as `model` is; None takes the first layers of `model`
    checkpoints   a folder of further trained heads, or a Hub repository org/name[@revision] of them, beside those that
                  ship; None is a folder in the data folder
    database_url  SQLAlchemy URL; None is a SQLite file in the data folder
    data_folder   the user's data folder: database, signing key, heads trained on the page
    cache_folder  the converted default model
    """

    model: str = EMBEDDED
    revision: str | None = None
    precision: str = "auto"
    device: str = "auto"
    threads: int | None = None
    small_model: str | None = None
    checkpoints: Path | None = None
    database_url: str | None = None
    data_folder: Path = Path(platformdirs.user_data_dir(APPLICATION))
    cache_folder: Path = Path(platformdirs.user_cache_dir(APPLICATION))
    host: str = "127.0.0.1"
    port: int = 7860

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise PlaygroundError(f"`precision` must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        for name, (low, high) in NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise PlaygroundError(f"`{name}` must lie between {low} and {high}, got {value}.")

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_folder / 'votes.sqlite3'}"

    @property
    def trained_heads(self) -> Path:
        """The folder of heads beside those that ship; the Train tab writes to it."""
        named = self.checkpoints if self.hub_heads is None else None
        return named or self.data_folder / "checkpoints"

    @property
    def hub_heads(self) -> str | None:
        """The Hub repository that `checkpoints` names; None where it is a folder. It is only read from."""
        name = self.checkpoints.as_posix() if self.checkpoints is not None else ""
        return name if HUB_ID.fullmatch(name) and not Path(name).is_dir() else None


class OneSentenceParser(argparse.ArgumentParser):
    """Arguments that do not fit are one sentence, like all other bad input, not a block of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def whole(low: int) -> Callable[[str], int]:
    """An argument that is a whole number from `low`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low}, got {text[:40]!r}")
        return int(text)

    return read


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """An argument that is a finite number from `low` to `high`; without a `high` it must be above `low`."""
    allowed = f"from {low:g} to {high:g}" if math.isfinite(high) else f"above {low:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not (low <= value <= high if math.isfinite(high) else value > low):
            raise argparse.ArgumentTypeError(f"must be a number {allowed}, got {text[:40]!r}")
        return value

    return read


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every command shares. Defaults are None: unset is told apart from set."""
    add = parser.add_argument
    add(
        "--model",
        metavar="ID|DIR|FILE.gguf",
        help="a Hub id, a local folder or a GGUF file (default: the embedded model)",
    )
    add("--revision", metavar="R", help="revision of a Hub model")
    add("--precision", choices=PRECISIONS, help="arithmetic of the model (default: auto)")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), help="where the model runs (default: auto)")
    add("--threads", metavar="N", help="threads of a pass on a CPU (default: the cores that other programs leave free)")
    add(
        "--small-model",
        metavar="ID|DIR|FILE.gguf",
        help="the small model of entropy-switch (default: the model's own first layers)",
    )
    add(
        "--checkpoints",
        metavar="DIR|ORG/NAME[@REVISION]",
        help="further trained heads, in a folder or on the Hub (default: checkpoints in the data folder)",
    )
    add("--database-url", metavar="URL", help="SQLAlchemy URL of the vote store (default: SQLite in the data folder)")
    add("--data-folder", metavar="DIR", help="the folder of the database and the signing key")
    add("--cache-folder", metavar="DIR", help="the folder of the converted default model")


def settings_from(flags: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Settings from parsed flags and an environment; unknown flags are left alone.

    Raises PlaygroundError for a value that does not fit.
    """
    values: dict[str, object] = {}
    environment = {"PLAYGROUND_THREADS": _openmp(environment)} | {k: v for k, v in environment.items() if v}
    for field in fields(Settings):
        raw = flags.get(field.name)
        if raw is None:
            raw = environment.get(f"PLAYGROUND_{field.name.upper()}") or None
        if raw is None:
            continue
        if field.name in NUMBERS:
            values[field.name] = _number(field.name, raw)
        elif field.name in ("checkpoints", "data_folder", "cache_folder"):
            values[field.name] = Path(str(raw)).expanduser()
        else:
            values[field.name] = str(raw)
    return Settings(**values)  # type: ignore[arg-type]


def _openmp(environment: Mapping[str, str]) -> str:
    """The number of threads that the user gave OpenMP; for nested teams it may be a list."""
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return first if first.isdecimal() and 1 <= int(first) <= NUMBERS["threads"][1] else ""


def _number(name: str, raw: object) -> int:
    low, high = NUMBERS[name]
    try:
        return int(str(raw))
    except ValueError:
        raise PlaygroundError(f"`{name}` must be a whole number between {low} and {high}, got {raw!r}.") from None
