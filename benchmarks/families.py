"""What each family of models does here: its path, its precisions, and whether it decodes what its reference decodes.

Small random models stand for the families: a fault of loading or of arithmetic shows in them as in large ones. The
reference of a folder is transformers' `generate` in float32, that of a GGUF file llama.cpp. benchmarks.measure.agreement
says what counts as a tie and what as a silent difference; a silent difference ends the command with an error. The whole
run writes docs/families.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import agreement
from benchmarks.measure.agreement import Agreement, Text, compared
from benchmarks.measure.asked import Asked
from benchmarks.measure.machine import conditions
from benchmarks.measure.result import Result, Table, Value
from benchmarks.small import tokens
from benchmarks.small.blocks import KINDS
from benchmarks.small.families import CONTEXT, FAMILIES
from benchmarks.small.folders import folder, network
from benchmarks.small.gguf_files import gguf_file, held
from benchmarks.yardsticks.llama_cpp import UnavailableError
from benchmarks.yardsticks.llama_reference import LlamaReference
from benchmarks.yardsticks.transformers_logits import TABLE, TransformersLogits
from models.errors import ModelError
from models.language_model import LanguageModel
from models.llama.model import LlamaModel
from models.loading import load_language_model
from models.precision import OFFERED

TITLE = "Every family of models beside its reference: path, precisions, greedy replies, logits, lanes, long prompts"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "families.md"
COMMAND = "python -m playground bench families"
COLUMNS = (
    "In every column the precisions stand in their order. Equal, at ties and parted count greedy replies, Δ is the largest "
    "difference of a logit over 64 given tokens, decoded and scored; noise is what rounding alone moves a logit of the "
    "reference by. Long prompts have 56 and 120 tokens, and 24 more are decoded: the original length of a scaled embedding "
    "is 64 here, a window 16. Four lanes are fed different replies beside one another and compared with each alone."
)
OWN, THEIRS = "models.llama", "transformers"
PRECISIONS = tuple(name for name in OFFERED if name != "auto")
FILES = {  # families of GGUF files, each in F32; the formats are tried on the first
    "llama", "llama-tied", "llama-three", "llama-llama3", "llama-linear", "llama-yarn", "mistral", "qwen2", "qwen2-yarn",
    "qwen3", "qwen3-tied", "phi3", "phi3-longrope", "gemma", "gemma2", "gemma3", "gpt2", "granite", "nemotron", "olmo2",
    "smollm3", "stablelm", "starcoder2", "mixtral", "qwen2_moe", "qwen3_moe", "mamba",
}  # fmt: skip
QUICK = ("llama", "qwen3", "llama-llama3", "gemma2", "mixtral", "mamba", "bart")
QUICK_KINDS = ("F16", "Q4_0", "Q4_1", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "IQ4_XS")
Ask = tuple[list[int], list[int] | int]  # a prompt, and its reply or the number of greedy tokens
SAID = {  # llama.cpp takes the factors for long texts by the length of its context, which is 256 at least, not of the text
    "phi3-longrope": {"phi3.rope.scaling.original_context_length": CONTEXT, "phi3.context_length": 2 * CONTEXT}
}
UNCACHED = ("xlstm", "minimax-window")  # transformers' cache of the one raises, that of the other forgets its window
FLOOR = 2e-5  # of the largest logit: what float32 may always differ by
FURTHER = (
    ("llama-tied", "Q6_K"),
    ("llama-llama3", "Q4_K"),
    ("qwen2", "Q8_0"),
    ("qwen3", "Q4_1"),
    ("qwen3-tied", "Q4_0"),
)
GIVEN, LONG, BEYOND = 64, 24, 120  # tokens of the given text and of a long one's reply, and of the longest prompt
SPOKEN = "the river ran past an old town and nobody knew its name until a letter told them what time it was"


@dataclass(frozen=True)
class Case:
    """A model to examine: a folder, or a GGUF file in one of ggml's formats."""

    family: str
    kind: str = ""

    @property
    def name(self) -> str:
        return f"{self.family} {self.kind}".strip()

    def written(self, place: Path, plain: bool = False) -> Path:
        if not self.kind:
            return folder(place / self.family, self.family)
        name = f"{self.family}-{self.kind}{'-plain' if plain else ''}.gguf"
        return gguf_file(place / name, self.family, self.kind, plain=plain, metadata=SAID.get(self.family))


@dataclass
class Found:
    """What came of one case: agreements by path and precision, and the sentence for each precision that is refused."""

    case: Case
    agreements: dict[tuple[str, str], Agreement] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reference: str = ""


def run(asked: Asked) -> Result:
    llama = LlamaReference()
    found = []
    try:
        for case in cases(asked.quick):
            found.append(examined(case, llama, asked.size(20, 4), asked.size(16, 12)))
            asked.progress(f"{case.name}: {', '.join(found[-1].faults) or 'as its reference or refused'}")
    finally:
        llama.close()
    whole = result(found)
    if not asked.quick:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(document(whole), encoding="utf-8")
    return whole


def cases(quick: bool) -> list[Case]:
    """All that is examined, in the order of the table."""
    families = QUICK if quick else tuple(FAMILIES)
    files = [Case(name, "F32") for name in families if name in FILES]
    kinds = QUICK_KINDS if quick else KINDS[1:]
    further = [] if quick else [Case(*pair) for pair in FURTHER]
    return [*map(Case, families), *files, *(Case("llama", kind) for kind in kinds), *further]


def examined(
    case: Case, llama: LlamaReference, prompts: int, length: int, precisions: Sequence[str] = PRECISIONS
) -> Found:
    """The case in every precision beside its reference."""
    found = Found(case)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        path = case.written(place)
        models = {}
        for precision in precisions:
            try:
                models[precision] = load_language_model(
                    str(path), precision=precision, cache=place / "cache", threads=torch.get_num_threads()
                )
            except ModelError as error:
                found.refused[precision] = str(error).replace(str(place), "…")
        if models:
            texts = _Texts(case, place, path, llama, found, prompts, length)
            for precision, model in models.items():
                _compare(found, texts, precision, model)
    return found


class _Texts:
    """The reference's logits over the texts of a case, read once for all precisions."""

    def __init__(
        self, case: Case, place: Path, path: Path, llama: LlamaReference, found: Found, prompts: int, length: int
    ) -> None:
        random = torch.Generator().manual_seed(0)
        ids = torch.randint(len(tokens.CONTROL), tokens.SIZE, (20 + GIVEN + BEYOND,), generator=random).tolist()
        words = SPOKEN.split()
        self.said = [" ".join(words[: 1 + number % len(words)]) + "?" * (number % 3) for number in range(prompts)]
        spelled = tokens.tokenizer()
        self.prompts = [_chat(spelled, text) for text in self.said]
        self._weights = TransformersLogits(held(case.family, case.kind) if case.kind else network(case.family))
        asks: list[Ask] = [(prompt, length) for prompt in self.prompts]
        asks.append((ids[:20], ids[20 : 20 + GIVEN]))
        asks += [(ids[:start], LONG) for start in (CONTEXT // 4 - LONG // 3, BEYOND)]
        logits, self.shifted = self._read(case, place, path, llama, found, asks)
        self._asks: list[tuple[list[int], list[int]]] = [
            (prompt, rows.argmax(-1).tolist() if isinstance(reply, int) else reply)
            for (prompt, reply), rows in zip(asks, logits, strict=True)
        ]
        self._logits, self._exact = logits, self._unrounded(case, place, llama, logits)

    def _read(
        self, case: Case, place: Path, path: Path, llama: LlamaReference, found: Found, asks: Sequence[Ask]
    ) -> tuple[list[Tensor], bool]:
        """The reference's logits, and whether they are log-probabilities."""
        if case.kind:
            try:
                logits = llama.logprobs(path, asks)
                found.reference = "llama.cpp"
                return logits, True
            except UnavailableError as error:
                found.notes.append(str(error))
        cached = case.family not in UNCACHED
        found.reference = "transformers" if cached else "transformers without its cache"
        source = TransformersLogits.of(path, cached)
        return [source.logits(*ask) for ask in asks], False

    def _unrounded(self, case: Case, place: Path, llama: LlamaReference, logits: list[Tensor]) -> list[Tensor]:
        """The reference without roundings of its own: llama.cpp rounds what it multiplies with quantised weights, so
        the same numbers are given to it as float32.
        """
        if not self.shifted or case.kind == "F32":
            return logits
        return llama.logprobs(case.written(place, plain=True), self._asks)

    def at(self, precision: str) -> list[Text]:
        """Every text with the noise of this precision: the replies, the given text, then two long ones."""
        made = []
        for (prompt, reply), rows, exact in zip(self._asks, self._logits, self._exact, strict=True):
            moved = self._weights.moved(precision, prompt, reply).abs().clamp(min=FLOOR * float(rows.abs().max()))
            if self.shifted:
                moved = moved.maximum(self._weights.moved(TABLE, prompt, reply).abs())
            made.append(Text(prompt, reply, rows, moved, exact))
        return made


def _chat(spelled: object, text: str) -> list[int]:
    messages = [{"role": "user", "content": text}]
    made = spelled.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)  # type: ignore[attr-defined]
    return list(made)


def _compare(found: Found, texts: _Texts, precision: str, model: LanguageModel) -> None:
    path = OWN if isinstance(model, LlamaModel) else THEIRS
    if [model.encode_chat(said) for said in texts.said] != texts.prompts:
        found.faults.append(f"{precision}: the prompt's tokens are not the template's")
    try:
        *replies, given, near, far = texts.at(precision)
        compares = compared(model, replies, given, (near, far), texts.shifted)
    except ModelError as error:
        found.refused[precision] = str(error)
        return
    except Exception as error:
        found.faults.append(f"{precision}: ends in {type(error).__name__}: {' '.join(str(error).split())[:120]}")
        return
    found.agreements[path, precision] = compares
    if faults := compares.faults():
        found.faults.append(f"{precision}: {', '.join(faults)}")


def result(found: Sequence[Found]) -> Result:
    """The tables: one line for each model and path, its precisions side by side."""
    columns = {"model": "", "path": "", "reference": "", "precisions": "", "equal": "", "at ties": "", "parted": "",
               "largest Δ of a logit": "", "Δ ÷ noise": "", "long, Δ ÷ noise": "", "4 lanes": ""}  # fmt: skip
    tables = [
        Table(title, columns, [row for one in found if bool(one.case.kind) == files for row in _rows(one)])
        for title, files in (("Folders", False), ("GGUF files", True))
    ]
    refused = [_refusal(one) for one in found if one.refused and not one.agreements]
    tables.append(Table("Refused in every precision", {"model": "", "sentence": ""}, refused))
    faults = [f"{one.case.name}, {fault}." for one in found for fault in one.faults]
    notes = [COLUMNS, f"Silent differences and failures: {len(faults)}.", *faults]
    notes += [f"{one.case.name}: {note}" for one in found for note in one.notes]
    how = conditions(
        "transformers",
        *filter(find_spec, ("gguf", "xllamacpp")),
        folders=_count(found, False),
        files=_count(found, True),
    )
    failed = f"{len(faults)} of the examined runs are not their reference; the table names them." if faults else ""
    return Result("families", how, tables, notes, failed)


def _rows(one: Found) -> list[dict[str, Value]]:
    return [_row(one, path) for path in (OWN, THEIRS) if any(key[0] == path for key in one.agreements)]


def _row(one: Found, path: str) -> dict[str, Value]:
    by = {precision: found for (where, precision), found in one.agreements.items() if where == path}

    def listed(*values: object) -> str:
        return ", ".join(map(str, values))

    return {
        "model": one.case.name,
        "path": path,
        "reference": one.reference,
        "precisions": listed(*by),
        "equal": listed(*(found.equal for found in by.values())),
        "at ties": listed(*(found.ties for found in by.values())),
        "parted": listed(*(found.parted for found in by.values())),
        "largest Δ of a logit": listed(*(f"{found.largest:.1g}" for found in by.values())),
        "Δ ÷ noise": listed(*(f"{found.largest / found.noise:.1f}" for found in by.values())),
        "long, Δ ÷ noise": listed(*(f"{found.long / found.noise:.1f}" for found in by.values())),
        "4 lanes": listed(*sorted({found.lanes for found in by.values()})),
    }


def _refusal(one: Found) -> dict[str, Value]:
    return {"model": one.case.name, "sentence": one.refused.get("float32") or next(iter(one.refused.values()))}


def _count(found: Sequence[Found], files: bool) -> int:
    return len({one.case.name for one in found if bool(one.case.kind) == files})


def document(found: Result) -> str:
    """docs/families.md."""
    about, rule = (text.split("\n\n", 1)[1].strip() for text in (__doc__ or "", agreement.__doc__ or ""))
    rule = rule.replace("EXCUSED", f"{agreement.EXCUSED:g}").replace("TIES", f"{agreement.TIES:g}")
    return "\n\n".join(["# Families of models", about, rule, f"Made by `{COMMAND}`: {found.text()}"]) + "\n"
