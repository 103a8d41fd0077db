"""The weights behind a model: its GGUF file, and the bytes that one step reads."""

from __future__ import annotations

from pathlib import Path

from models import embedded
from models.language_model import LanguageModel
from playground.config import EMBEDDED, Settings

BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0}  # of one weight
FOUR_BIT = 0.5 + 4 / 32  # of one weight in blocks of 32 with two bfloat16 numbers each


def gguf_of(settings: Settings) -> Path | None:
    """The GGUF file of the settings' model, fetched for the embedded one where it is not kept; None for other models."""
    if settings.model == EMBEDDED:
        return embedded.gguf_file(settings.cache_folder)
    path = Path(settings.model).expanduser()
    return path if path.suffix.lower() == ".gguf" else None


def weight_bytes(model: LanguageModel) -> float:
    """Bytes of weights that a step of one token reads.

    Of a GGUF file's blocks all but the unembedding are taken to have 4 bits; the unembedding runs as float16.
    """
    if model.precision == "gguf":
        unembedding = model.vocab_size * model.hidden_size
        return 2.0 * unembedding + FOUR_BIT * (model.parameters - unembedding)
    return BYTES[model.precision] * model.parameters
