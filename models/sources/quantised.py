"""Whether a model's weights are quantised, by its configuration: only transformers runs those, where it really can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.errors import ModelError

NAMES = ("quantization_config", "compression_config", "quantization")


def quantised(config: Any) -> str:
    """How the weights are quantised, as the configuration calls it; empty where they are not."""
    for part in (config, config.get_text_config()):
        for name in NAMES:
            said = getattr(part, name, None)
            if said:
                method = said.get("quant_method") if isinstance(said, dict) else getattr(said, "quant_method", None)
                return str(getattr(method, "value", method) or "an unnamed method")
    return ""


def refuse_unknown(name: str, method: str) -> None:
    """Raises ModelError for a method that transformers does not know: it would leave out the scales with a warning."""
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    known = {known.removesuffix("_4bit").removesuffix("_8bit") for known in AUTO_QUANTIZER_MAPPING}
    if method not in known:
        raise ModelError(
            f"The weights of {name} are quantised with {method}, which transformers does not know; use the model before it "
            f"was quantised, or a GGUF file of it."
        )


def refusal(name: str, method: str, error: Exception) -> ModelError:
    """The sentence where transformers cannot run a quantised model here, naming what it misses."""
    reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
    return ModelError(
        f"The weights of {name} are quantised with {method}, which transformers cannot run here ({reason}); install what is "
        f"missing, or use the model before it was quantised, or a GGUF file of it."
    )


def refuse_unable(name: str, method: str, run: Callable[[], Tensor]) -> None:
    """Raises ModelError where a quantised model that was loaded gives no logits: some kernels are only looked for when they
    run."""
    try:
        logits = run()
    except Exception as error:
        raise refusal(name, method, error) from error
    if not torch.isfinite(logits).all():
        raise refusal(name, method, ValueError("its logits are no finite numbers"))
