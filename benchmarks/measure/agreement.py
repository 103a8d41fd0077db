"""Whether a model decodes what its reference decodes: greedy replies, logits over a given text, lanes, long prompts.

The noise of a precision is what rounding moves the reference's own logits by, as the root of the mean square over the
vocabulary. A greedy token may be another than the reference's where the reference's two best logits lie no further apart
than TIES times the noise there, or its median over the text, or a third of its largest in any text (a mixture of experts
may choose another expert at any place): a tie. A logit may differ by EXCUSED times the largest single move. Beyond
either, the model is another one than its reference and nothing said so: a silent difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.language_model import LanguageModel

TIES, EXCUSED = 6.0, 4.0
LANES = 4


@dataclass(frozen=True)
class Text:
    """A prompt, the tokens that are fed after it, and the reference's logits [T, V] at each; `moved` [T, V] is the noise of
    the precision. Where the reference itself rounds, `exact` [T, V] is what it computes without.
    """

    prompt: Sequence[int]
    reply: Sequence[int]
    logits: Tensor
    moved: Tensor
    exact: Tensor

    @property
    def noise(self) -> float:
        """The largest move of a logit."""
        return float(self.moved.abs().max())

    @property
    def roughness(self) -> Tensor:
        """The noise by place [T], the reference's own included."""
        both = torch.maximum(self.moved.abs(), (self.logits - self.exact).abs())
        return both.double().pow(2).mean(-1).sqrt()

    def tied(self, place: int, roughest: float = 0.0) -> bool:
        """Whether the reference is undecided between its two best tokens; `roughest` is the largest noise of any text."""
        by_place = self.roughness
        best, second = self.logits[place].double().topk(2).values.tolist()
        return best - second <= TIES * max(float(by_place[place]), float(by_place.median()), roughest / 3)


@dataclass(frozen=True)
class Agreement:
    """What was found: replies that are equal, that part at a tie, that part without one; the largest differences of a
    logit when decoded and when scored; lanes with the bits of a lane alone; the largest difference over long prompts.
    """

    noise: float
    equal: int
    ties: int
    parted: int
    decoded: float
    scored: float
    lanes: str
    long: float

    @property
    def largest(self) -> float:
        return max(self.decoded, self.scored)

    def faults(self) -> list[str]:
        """Each silent difference in a few words."""
        bound = EXCUSED * self.noise
        found = [f"{self.parted} replies part without a tie"] if self.parted else []
        for name in ("decoded", "scored", "long"):
            if not getattr(self, name) <= bound:
                found.append(f"{name} logits differ by {getattr(self, name):.3g}, noise {self.noise:.2g}")
        return found + ([f"lanes: {self.lanes}"] if self.lanes.startswith("differ") else [])


def compared(
    model: LanguageModel, replies: Sequence[Text], given: Text, long: Sequence[Text], shifted: bool
) -> Agreement:
    """The model against its reference; `shifted` compares log-probabilities, where the reference gives no logits."""
    measure = _log if shifted else _plain
    roughest = max(float(text.roughness.max()) for text in (*replies, given, *long))
    found = [_parting(model, text, roughest) for text in replies]
    noise = max(text.noise for text in (given, *long))
    expected = measure(given.exact)
    alone = stepped(model, given.prompt, [given.reply])[0]
    return Agreement(
        noise,
        found.count("equal"),
        found.count("tie"),
        found.count("parted"),
        _apart(measure(alone), expected),
        _apart(measure(model.score(given.prompt, given.reply)), expected),
        _lanes(model, given, alone, noise),
        max((_long(model, text, measure) for text in long), default=0.0),
    )


def stepped(model: LanguageModel, prompt: Sequence[int], replies: Sequence[Sequence[int]]) -> list[Tensor]:
    """Logits [T, V] of each lane, all fed side by side after one prompt, as the engine steps them."""
    output, cache = model.prefill(list(prompt))
    rows = model.rows_for(len(replies))
    cache = model.expand(cache, rows)
    seen = [output.logits.expand(len(replies), -1)]
    for tokens in torch.tensor([list(reply)[:-1] for reply in replies]).T:
        fed = torch.cat([tokens, tokens[:1].expand(rows - len(replies))])
        seen.append(model.step(fed, cache).logits[: len(replies)])
    return list(torch.stack(seen, dim=1))


def _parting(model: LanguageModel, text: Text, roughest: float) -> str:
    """Decodes greedily along the reference's reply; where the two part, whether the reference was undecided there."""
    output, cache = model.prefill(list(text.prompt))
    rows = model.rows_for(1)
    cache, logits, found = model.expand(cache, rows), output.logits, "equal"
    for place, token in enumerate(text.reply):
        if int(logits[0].argmax()) != token:
            if not text.tied(place, roughest):
                return "parted"
            found = "tie"
        if place + 1 < len(text.reply):
            logits = model.step(torch.full((rows,), token), cache).logits
    return found


def _lanes(model: LanguageModel, given: Text, alone: Tensor, noise: float) -> str:
    """Whether a lane is what it is alone when three others, with replies of their own, are fed beside it."""
    others = [[*given.reply[place:], *given.reply[:place]] for place in range(1, LANES)]
    beside = stepped(model, given.prompt, [others[0], given.reply, *others[1:]])[1]
    if torch.equal(beside, alone):
        return "same bits"
    apart = _apart(beside, alone)
    return "within noise" if apart <= EXCUSED * noise else f"differ by {apart:.3g}"


def _long(model: LanguageModel, text: Text, measure: Callable[[Tensor], Tensor]) -> float:
    expected = measure(text.exact)
    decoded = _apart(measure(stepped(model, text.prompt, [text.reply])[0]), expected)
    return max(decoded, _apart(measure(model.score(text.prompt, text.reply)), expected))


def _plain(logits: Tensor) -> Tensor:
    return logits.double()


def _log(logits: Tensor) -> Tensor:
    return logits.double().log_softmax(-1)


def _apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference; not a number and no number at all are infinitely far."""
    apart = float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")
    return apart if apart == apart else float("inf")
