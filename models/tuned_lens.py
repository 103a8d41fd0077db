"""A small model out of a large one: its first k layers, then a trained linear map to the final state.

    ŝ_t = norm(A h_t + b),   logits = the large model's unembedding of ŝ_t

h_t is the residual stream after layer k, `norm` the large model's last norm. The map is the translator of a tuned lens
(Belrose et al. 2023, arXiv 2303.08112), trained to lower KL(p_large ‖ p_small); A = 1, b = 0 is the logit lens.
No weight is copied: layers, embedding, norm and unembedding are the large model's own tensors.

Departure: the paper trains one translator for every layer and looks at a whole forward pass; here one layer's translator
ends a forward pass of its own, so what the cut model decodes is fed back to it.

Shapes: B rows, T time, H hidden.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.language_model import LanguageModel
from models.llama.model import LlamaModel
from models.transformers_model import TransformersModel

LAST_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "final_norm")
PROBE = [1, 2, 3, 4]  # tokens that a cut model is tried on
ROUNDING = 0.05  # of the spread, at most, in bfloat16


class TunedLens(nn.Module):
    """An affine map of the residual stream [..., H] → [..., H]; untrained it is the identity, which is the logit lens."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.weight, self.bias)


def with_lens(model: LanguageModel, layers: int, lens: nn.Module, name: str, revision: str) -> LanguageModel:
    """The small model: the first `layers` layers of `model`, then `lens`, then the model's own norm and unembedding.

    A language model like any other, with caches of its own, and `parameters` that count what one of its tokens reads
    (the layers kept, lens, norm, embedding). `name` and `revision` say which lens it has. Raises ModelError as
    `first_layers` does.
    """
    lens = lens.float()
    if isinstance(model, LlamaModel):
        _true_part(layers, model.depth)
        norm, parameters = model.network.norm, sum(parameter.numel() for parameter in lens.parameters())
        return model.first_layers(layers, lambda states: norm(lens(states)), parameters, name, revision)
    return first_layers(model, layers, nn.Sequential(lens, last_norm(model)), name, revision)


def first_layers(model: LanguageModel, layers: int, last: nn.Module, name: str, revision: str) -> TransformersModel:
    """The first `layers` layers of `model` with `last` in place of its norm, then its own unembedding, in transformers.

    Raises ModelError where `layers` is not a true part of the model, or where the model is not a plain stack of layers
    between an embedding and a norm.
    """
    _true_part(layers, model.depth)
    places = _places(model)
    try:
        cut = _cut(model, layers, last, places, name, revision)
        stands_alone = _gives_the_state(cut, model, layers, last, places)
    except Exception as error:  # of layers that count on others, such as on the cache of one that attends
        raise _no_plain_stack(model) from error
    if not stands_alone:
        raise _no_plain_stack(model)
    return cut


def _cut(
    model: LanguageModel, layers: int, last: nn.Module, places: dict[str, str], name: str, revision: str
) -> TransformersModel:
    whole = model.model
    cut, body = _twin(whole), _twin(whole.base_model)
    cut.config = body.config = _shallower(whole.config, layers)
    body._modules[places["layers"]] = nn.ModuleList(list(getattr(body, places["layers"]))[:layers])
    body._modules[places["norm"]] = last
    cut._modules[places["body"]] = body
    cut._modules[places["unembedding"]] = _twin(whole.get_output_embeddings())
    return TransformersModel(cut, model.tokenizer, name, revision, whole.device)


@torch.inference_mode()
def _gives_the_state(
    cut: TransformersModel, model: LanguageModel, layers: int, last: nn.Module, places: dict[str, str]
) -> bool:
    """Whether, over a few tokens, the cut ends with what the model's layer gives, and `unembed` with the model's logits."""
    whole, head, final = _twin(model.model), _twin(model.model.get_output_embeddings()), []
    whole._modules[places["unembedding"]] = head
    head.register_forward_pre_hook(lambda module, inputs: final.append(inputs[0][0]))
    out = whole(torch.tensor([PROBE], device=cut.device), output_hidden_states=True)
    state = cut.features(PROBE[:1], [*PROBE[1:], 0])
    return _near(state, last(out.hidden_states[layers])[0]) and _near(unembed(model, final[0]), out.logits[0])


def _near(one: Tensor, other: Tensor) -> bool:
    one, other = one.float().cpu(), other.float().cpu()
    return bool((one - other).abs().max() <= ROUNDING * other.std())


def _true_part(layers: int, depth: int) -> None:
    if not 1 <= layers < depth:
        raise ModelError(f"`layers` must be a whole number from 1 to {depth - 1}, got {layers}.")


def last_norm(model: LanguageModel) -> nn.Module:
    """The norm between the last layer and the unembedding."""
    norm: nn.Module = getattr(model.model.base_model, _places(model)["norm"])
    return norm


def unembed(model: LanguageModel, states: Tensor, tokens: Tensor | None = None) -> Tensor:
    """The logits [N, V] of final states [N, H], scaled and soft-capped as the model does it; of `tokens` alone, if given."""
    config, head = model.model.config.get_text_config(), model.model.get_output_embeddings()
    some = slice(None) if tokens is None else tokens
    logits = nn.functional.linear(states, head.weight[some], None if head.bias is None else head.bias[some])
    logits = logits * (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _places(model: LanguageModel) -> dict[str, str]:
    """Under which names the model keeps its body, and the body its layers and last norm. Raises ModelError."""
    whole, body, depth = model.model, model.model.base_model, model.depth
    found = {
        "body": [key for key, part in whole.named_children() if part is body],
        "unembedding": [key for key, part in whole.named_children() if part is whole.get_output_embeddings()],
        "layers": [k for k, part in body.named_children() if isinstance(part, nn.ModuleList) and len(part) == depth],
        "norm": [key for key, _ in body.named_children() if key in LAST_NORMS],
    }
    if any(len(keys) != 1 for keys in found.values()):
        raise _no_plain_stack(model)
    return {part: keys[0] for part, keys in found.items()}


def _no_plain_stack(model: LanguageModel) -> ModelError:
    return ModelError(
        f"{model.name} is not a plain stack of layers, so its first layers cannot stand alone; name a small model with "
        f"--small-model.",
        f"{model.name} is not a plain stack of layers, so its first layers cannot stand alone; choose another policy.",
    )


def _twin(module: Any) -> Any:
    """A module with the same parameters and children whose children can be exchanged, and which has no hooks."""
    twin = copy.copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        setattr(twin, name, dict(getattr(module, name)))
    for name in ("_forward_pre_hooks", "_forward_hooks"):
        setattr(twin, name, OrderedDict())
    return twin


def _shallower(config: Any, layers: int) -> Any:
    """The configuration of the first `layers` layers: what a cache is laid out by."""
    shallow = copy.deepcopy(config)
    text = shallow.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None) is not None:
        text.layer_types = list(text.layer_types[:layers])
    return shallow
