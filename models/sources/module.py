"""A model as a transformers module, checked: every tensor of the file in its place, and no number made up."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from models.errors import ModelError
from models.sources.configuration import config_of, generation_of
from models.sources.fit import FLOATS, harmless, refuse_not_finite, refuse_unfit, refuse_unscaled
from models.sources.place import files_of
from models.sources.quantised import quantised, refusal, refuse_unknown
from models.sources.size import refuse_oversized
from models.sources.source import Source
from models.sources.tensors import tensors_of


def module_of(source: Source, dtype: torch.dtype) -> Any:
    """The module with the weights of `source`. Raises ModelError for a model that would not be the file's."""
    if source.file is not None:
        return _of_gguf(source, dtype)
    config = config_of(source)
    method = quantised(config)
    if method:
        refuse_unknown(source.name, method)
    tensors = tensors_of(files_of(source))
    refuse_unscaled(source.name, tensors, bool(method))
    if not method:
        refuse_oversized(source.name, config, tensors)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.where,
            dtype=dtype,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **source.options,
        )
    except (ImportError, RuntimeError, ValueError, NotImplementedError) as error:
        if method and not isinstance(error, ModelError):
            raise refusal(source.name, method, error) from error
        raise
    model, told = loaded
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    over = [key for key in told["unexpected_keys"] if not harmless(key, shapes.get(key, ()))]
    refuse_unfit(source.name, told["missing_keys"], over, {key: pair for key, *pair in told["mismatched_keys"]})
    refuse_not_finite(source.name, model.named_parameters())
    plain = all(parameter.dtype in FLOATS for parameter in model.parameters())
    return model.to(dtype) if method and plain else model  # what was not quantised may have kept the file's type


def _of_gguf(source: Source, dtype: torch.dtype) -> Any:
    """The module of a GGUF file, with the weights that are read of it here."""
    assert source.file is not None
    config = config_of(source)
    refuse_oversized(source.name, config, source.file.tensors)
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    model, told = kind.from_pretrained(
        None,
        config=config,
        state_dict=source.file.dense(dtype),
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    mismatched = {key: pair for key, *pair in told["mismatched_keys"]}
    refuse_unfit(source.name, told["missing_keys"], told["unexpected_keys"], mismatched)
    refuse_not_finite(source.name, model.named_parameters())
    model.generation_config = generation_of(source, config)
    return model
