"""`difficulty-router`: a preset of temperature, length and instruction, chosen once from the prompt (DiffAdapt, Liu et al.
2025, arXiv 2510.19669).

    c = argmax probe(h)    h the state at the last token of the plain prompt, c one of easy, normal, hard
    reply = decode(prompt + instruction_c, T = temperature_c, at most share_c · max_tokens)

    easy    T .5   0.4 × length   solve directly, then verify
    normal  T .8   1 × length     step by step
    hard    T .4   0.5 × length   fail fast

`preset` names one by hand; without a probe for the loaded model that is all it can do, and it is called a router.

Departures: 1. the instructions are in our words. 2. The instructed prompt is read anew after the probe has decided, one
prefill more than the paper's count; the plain prompt's state is the same for every class, so the probe cannot see what it
is about to choose. 3. A probability for each class is recorded as a channel, the same at every token of a reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from playground.decoding.decoders.lockstep import Lockstep
from playground.decoding.forward import Decoding, Forward
from playground.decoding.lane import Lane
from playground.decoding.policies import fixed
from playground.decoding.policies.base import Row
from playground.decoding.policies.spec import NO_CHECKPOINT, Channel, Key, PolicyKind, Spec, Value
from playground.decoding.session import Decoder, Session
from playground.decoding.trace import Request, TokenStep, float32_digits
from playground.errors import PlaygroundError


@dataclass(frozen=True)
class Preset:
    """How a class is decoded: its temperature, its share of the allowed length, and what is appended to the prompt."""

    name: str
    temperature: float
    share: float
    instruction: str

    def request(self, asked: Request) -> Request:
        """The request with this preset's instruction and length (at least one token)."""
        return replace(
            asked,
            prompt=f"{asked.prompt}\n\n{self.instruction}",
            max_tokens=max(1, round(self.share * asked.max_tokens)),
        )


PRESETS = (
    Preset("easy", 0.5, 0.4, "Give the solution directly, then check it once."),
    Preset("normal", 0.8, 1.0, "Work through this step by step, then give the answer."),
    Preset("hard", 0.4, 0.5, "Keep it short. If you cannot solve this, say so at once instead of trying again."),
)
CLASSES = tuple(preset.name for preset in PRESETS)


class DifficultyRouter(Decoder):
    """One lane at one temperature, over a prompt of its own. `probabilities` of the classes are empty for a preset by hand."""

    def __init__(self, session: Session, lane: Lane) -> None:
        self.session, self._lane = session, lane
        self.probabilities: dict[str, float] = {}
        if lane.row.spec.values["preset"] == "auto" and lane.row.spec.values["checkpoint"] == NO_CHECKPOINT:
            raise PlaygroundError(
                f"'difficulty-router' has no probe for {session.model.name}, so it cannot choose by itself; name a preset "
                f"({', '.join(f'preset={c}' for c in CLASSES)})."
            )

    @staticmethod
    def rows(session: Session, values: Mapping[str, Value]) -> int:
        return Lockstep.rows_of(session, 1)

    def prepare(self) -> Decoding[None]:
        """Reads the plain prompt where the probe decides, and completes the lane's header with what was chosen."""
        session, lane, checkpoint = self.session, self._lane, None
        name = str(lane.row.spec.values["preset"])
        if name == "auto":
            name, checkpoint = yield from self._decided()
        preset = next(preset for preset in PRESETS if preset.name == name)
        inner = Session(session.model, preset.request(session.request), session.resources)
        row = replace(lane.row, spec=_fixed(lane.row, preset.temperature))
        stepping = replace(inner.lane(lane.index, row), noise=lane.noise)
        self._lockstep = Lockstep(inner, [stepping])
        lane.length = inner.length
        lane.header = replace(
            lane.header,
            prompt_ids=tuple(inner.prompt_ids),
            checkpoint=checkpoint,
            order=stepping.header.order,
        )

    def _decided(self) -> Decoding[tuple[str, str]]:
        """The class that the probe finds likeliest, and the probe's id."""
        probe = self.session.resources.predictor(str(self._lane.row.spec.values["checkpoint"]), "difficulty-probe")
        output, _ = yield from self.session.read()
        shares = probe.call(output.hidden)[0].exp().tolist()
        self.probabilities = {c: float32_digits(p) for c, p in zip(CLASSES, shares, strict=True)}
        return max(zip(shares, CLASSES, strict=True), key=lambda choice: choice[0])[1], probe.id

    def run(self) -> Decoding[None]:
        inner, output = self._lockstep.run(), None
        while True:
            try:
                passed = inner.send(output)
            except StopIteration:
                return
            if isinstance(passed, Forward):
                output = yield passed
            else:
                output = None
                yield tuple(self._lane.emit(self._own(s.step)) for s in passed)

    def _own(self, step: TokenStep) -> TokenStep:
        """A step of the inner loop, its text still to come, with the probe's answer beside what the loop recorded."""
        return replace(step, text="", channel={**self.probabilities, **step.channel})


def note(values: Mapping[str, Value], steps: Sequence[TokenStep]) -> str:
    """Which class it was, who said so, and what that did to the reply."""
    shares = {name: steps[0].channel.get(name) for name in CLASSES}
    by_hand = str(values["preset"])
    if by_hand != "auto":
        name, said = by_hand, f"Preset {by_hand}, chosen by hand"
    elif None in shares.values():
        return ""
    else:
        name = max(CLASSES, key=lambda name: shares[name] or 0.0)
        said = f"The probe takes this prompt for {name} (P = {shares[name]:.2f})"
    preset = next(preset for preset in PRESETS if preset.name == name)
    length = "the whole length asked for" if preset.share == 1 else f"at most {preset.share:g} of the length asked for"
    return f"{said}: T = {preset.temperature:g}, {length}, and the prompt goes on with “{preset.instruction}”"


def _fixed(row: Row, temperature: float) -> Spec:
    """The `fixed` policy at this temperature, with the row's own filters."""
    return Spec(fixed.KIND, {**row.spec.filters, "top_k": row.spec.values["top_k"], "temperature": temperature})


def kind(default_checkpoint: str) -> PolicyKind:
    """The policy kind; with no probe for the loaded model its texts call it a router."""
    loaded = default_checkpoint != NO_CHECKPOINT
    return PolicyKind(
        name="difficulty-router",
        title="Difficulty router (DiffAdapt)" if loaded else "Router, until a probe is loaded",
        summary=(
            "A probe reads the prompt once and picks a preset of temperature, length and instruction."
            if loaded
            else "Presets of temperature, length and instruction, chosen by hand: a router until a probe is loaded."
        ),
        formula="easy T .5, 0.4× length · normal T .8, 1× · hard T .4, 0.5×; class = argmax probe(h_prompt)",
        source="Liu et al. 2025, arXiv 2510.19669 (DiffAdapt), section 4",
        departure="the instructions are in our words, and the instructed prompt is read anew, one prefill more.",
        keys=(
            Key("checkpoint", "checkpoint", default_checkpoint, "the trained probe"),
            Key(
                "preset",
                "choice",
                "auto",
                "auto: the probe's likeliest class; or one of the three by hand",
                choices=("auto", *CLASSES),
            ),
        ),
        decoder=DifficultyRouter,
        channels=tuple(
            Channel(
                c,
                f"P({c})",
                "",
                f"how likely the probe finds the prompt {c}",
                0.0,
                1.0,
                figure=f"P({c})",
                only_with=("preset", "auto"),
            )
            for c in CLASSES
        ),
        learned="difficulty-probe",
        note=note,
    )
