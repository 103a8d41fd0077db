"""A second language model beside the loaded one: the two must read the same tokens."""

from __future__ import annotations

from models.errors import ModelError
from models.language_model import LanguageModel

PROBE = "The 3 lighthouses saw 1,024 ships; naïve façades, 東京 🚢!\n\n  return x_1 != None  # it's    done"


def same_tokenizer(model: LanguageModel, second: LanguageModel) -> LanguageModel:
    """`second` itself. Raises ModelError where its tokens are not those of `model`: vocabularies, and ids of one text."""
    if model.tokenizer.get_vocab() != second.tokenizer.get_vocab():
        difference = (
            f"{len(model.tokenizer.get_vocab())} and {len(second.tokenizer.get_vocab())} tokens, not all the same"
        )
    elif model.encode_text(PROBE) != second.encode_text(PROBE):
        difference = "one vocabulary, but text is cut differently"
    else:
        return second
    raise ModelError(
        f"The small model {second.name!r} has another tokenizer than {model.name!r} ({difference}); name a smaller model of "
        f"the same family with --small-model, or leave it out to use the first layers of {model.name!r}.",
        f"The small model {second.name!r} has another tokenizer than {model.name!r} ({difference}); choose another policy.",
    )
