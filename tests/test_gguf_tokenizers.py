"""The tokenizers of GGUF files against llama.cpp's: the same ids of hard texts, under every rule that is read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from benchmarks.small.gguf_files import gguf_file
from benchmarks.yardsticks.llama_reference import LlamaReference
from models.chat.encoder import Encoder
from models.errors import ModelError
from models.gguf_files.metadata import Metadata
from models.gguf_files.pretokenizers import RULES
from models.gguf_files.splits import joined
from models.gguf_files.tokenizer import end_ids, tokenizer_of

TEXTS = (
    "Hello, world! It's 12,345.67 apples — don't ASK; we'LL see, I'm sure they'Re",
    "  two blanks   three\tand a tab \n\n\n new\r\nlines \n  x\n",
    "if (x==1) { return a[i]+b->c; } // 100% #define $VAR `tick` ~^|<=>",
    "2024-01-22 3.14159 1234567890 ½ Ⅷ ٣٤٥ ๒๓ x2y 007",
    "naïve café Ünïcödé ÀÉÎ ß ﬁ ǅ ΑΒγ Привет мир ПРИВЕТ",
    "日本語のテキスト、漢字とカナ。 한국어 텍스트 中文字符！ ไทยภาษา हिन्दी नमस्ते العربية עברית",
    "e\u0301 combining a\u0308\u0323 👩‍👩‍👧 🏳️‍🌈 emoji😀😀 ☃️ ∑∫√ → ← €£¥ «quoted» “curly” ‘single’",
    "a\u00a0b \u3000c\u2003d\u200be\u2028f\u0085g \x0b\x0c h",
    "'s 'S 'll 'T don''t it’s 'tis O'Reilly's 'Da",
    "CamelCaseHTTPServer iPhone XMLHttp snake_case_name kebab-case __init__",
    "         nine blanks\n        eight\n\t\t\ttabs  ",
    " leading",
    "trailing ",
    " ",
    "\n",
    "x",
    "1",
    "http://example.com/path?q=1&r=2#frag user@mail.org",
    "!!!??? ... --- *** ((())) [[]] {{}} ''\"\"",
    "<|start|>user\nHello<|stop|>\n<|start|> spaced <|stop|>",
)
CONTROLS = ("<|start|>", "<|stop|>")


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[LlamaReference]:
    server = LlamaReference()
    yield server
    server.close()


def learnt(texts: list[str], size: int, alphabet: list[str]) -> dict[str, Any]:
    """Pairs learnt across all borders of words, so that every cut shows in the ids."""
    built = Tokenizer(BPE())
    built.pre_tokenizer = pre_tokenizers.Split(Regex(r".{1,12}|\n"), "isolated")
    built.train_from_iterator(texts, BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False))
    model: dict[str, Any] = json.loads(built.to_str())["model"]
    return model


@pytest.fixture(scope="module")
def byte_level() -> dict[str, Any]:
    """What a file says of a byte-level tokenizer."""
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    texts = ["".join(piece for piece, _ in whole.pre_tokenize_str(text)) for text in TEXTS]
    model = learnt(texts, 1000, sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokens = [*sorted(model["vocab"], key=model["vocab"].get), *CONTROLS]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * (len(tokens) - 2) + [3, 3],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": len(tokens) - 2,
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
        "tokenizer.ggml.add_bos_token": None,
    }


@pytest.fixture(scope="module")
def sentence_piece() -> dict[str, Any]:
    """What a file says of a SentencePiece tokenizer with a token for every byte."""
    texts = [text.replace(" ", "▁") for text in TEXTS]
    model = learnt(texts, 700, [])
    merged = ["".join(pair) for pair in model["merges"]]
    words = [word for word in dict.fromkeys([*merged, *sorted(model["vocab"])]) if word not in CONTROLS]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words, *CONTROLS]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(place) for place in range(len(words))] + [0.0, 0.0],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(words) + [3, 4],
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": None,
    }


def made(path: Path, said: dict[str, Any], **more: Any) -> Path:
    metadata = said | {f"tokenizer.ggml.{key}": value for key, value in more.items()}
    return gguf_file(path, metadata=metadata, vocab_size=len(said["tokenizer.ggml.tokens"]))


def ours(path: Path) -> Any:
    contents = joined(path)
    return tokenizer_of(Metadata(path.name, contents.metadata, contents.tensors))


def hard_texts() -> list[str]:
    """The texts, and a hundred mixtures of their letters."""
    drawn, letters = random.Random(0), "".join(TEXTS[:-1])
    return [*TEXTS, *("".join(drawn.choices(letters, k=drawn.randint(2, 40))) for _ in range(100))]


def same(llama_cpp: LlamaReference, path: Path) -> None:
    texts, tokenizer = hard_texts(), ours(path)
    for special in (True, False):
        theirs = llama_cpp.ids(path, texts, special)
        for text, ids in zip(texts, theirs, strict=True):
            assert tokenizer.encode(text, add_special_tokens=special) == ids, text


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_cuts_text_as_llama_cpp_does(
    tmp_path: Path, llama_cpp: LlamaReference, byte_level: dict[str, Any], rule: str
) -> None:
    same(llama_cpp, made(tmp_path / "m.gguf", byte_level, pre=rule))


def test_rules_are_told_apart_by_these_texts(tmp_path: Path, byte_level: dict[str, Any]) -> None:
    found = {
        rule: tuple(tuple(ours(made(tmp_path / f"{rule}.gguf", byte_level, pre=rule)).encode(text)) for text in TEXTS)
        for rule in ("default", "falcon", "deepseek-v3", "qwen2", "qwen35", "llama-bpe", "dbrx", "gpt-2", "smollm", "tekken", "gpt-4o")
    }  # fmt: skip
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    "said",
    [{}, {"add_space_prefix": False}, {"add_bos_token": False}, {"add_eos_token": True}, {"bos_token_id": None}],
)
def test_sentence_piece_merges_as_llama_cpp_does(
    tmp_path: Path, llama_cpp: LlamaReference, sentence_piece: dict[str, Any], said: dict[str, Any]
) -> None:
    same(llama_cpp, made(tmp_path / "m.gguf", sentence_piece, **said))


@pytest.mark.parametrize("said", [{"add_bos_token": True}, {"add_bos_token": False, "add_eos_token": True}])
def test_what_stands_around_a_text_is_what_the_file_says(
    tmp_path: Path, llama_cpp: LlamaReference, byte_level: dict[str, Any], said: dict[str, Any]
) -> None:
    same(llama_cpp, made(tmp_path / "m.gguf", byte_level, pre="qwen2", **said))


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize(
    "template", ["<|im_start|>{{ messages[0].content }}", "{{ bos_token }}{{ messages[0].content }}"]
)
def test_a_chat_begins_once_where_llama_cpp_begins_it(
    tmp_path: Path, llama_cpp: LlamaReference, byte_level: dict[str, Any], begins: bool, template: str
) -> None:
    said = byte_level | {"tokenizer.chat_template": template, "tokenizer.ggml.add_bos_token": begins}
    path = made(tmp_path / "m.gguf", said)
    tokenizer = ours(path)
    writes = "bos_token" in template
    text = ("" if writes and begins else tokenizer.bos_token if writes else "<|im_start|>") + "Hello"
    assert Encoder(tokenizer).encode_chat("Hello") == llama_cpp.ids(path, [text])[0]


def test_decoding_gives_the_text_again(
    tmp_path: Path, byte_level: dict[str, Any], sentence_piece: dict[str, Any]
) -> None:
    for said in (byte_level, sentence_piece):
        tokenizer = ours(made(tmp_path / f"{said['tokenizer.ggml.model']}.gguf", said))
        for text in TEXTS[:-1]:
            assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_a_rule_or_a_kind_that_is_not_read_is_named(tmp_path: Path, byte_level: dict[str, Any]) -> None:
    for said, why in (
        ({"pre": "chameleon"}, "cuts text into words by the rule 'chameleon', which is not read here"),
        ({"model": "t5"}, "has a tokenizer of the kind 't5'; GGUF files with the kinds gpt2, llama are read."),
        ({"model": "llama"}, "has no token <0x00> for a byte"),
        ({"tokens": None}, "holds no tokenizer"),
        ({"merges": None}, "has no merges"),
        ({"merges": []}, "has no merges"),
        ({"merges": ["nothing known"]}, "has tokens and merges that do not fit together"),
        ({"token_type": [1]}, "lists that do not fit together"),
    ):
        with pytest.raises(ModelError, match=why.replace(".", r"\.")):
            ours(made(tmp_path / "m.gguf", byte_level, **said))


def test_the_chat_templates_of_a_file_reach_the_tokenizer(tmp_path: Path, byte_level: dict[str, Any]) -> None:
    plain = byte_level | {"tokenizer.chat_template": "{{ messages[0].content }}!"}
    assert ours(made(tmp_path / "a.gguf", plain)).chat_template == "{{ messages[0].content }}!"
    several = plain | {"tokenizer.chat_templates": ["rag"], "tokenizer.chat_template.rag": "{{ 1 }}"}
    assert ours(made(tmp_path / "b.gguf", several)).chat_template == {
        "default": "{{ messages[0].content }}!",
        "rag": "{{ 1 }}",
    }
    assert ours(made(tmp_path / "c.gguf", byte_level | {"tokenizer.chat_template": None})).chat_template is None


@pytest.mark.parametrize(
    "spelled",
    [
        ["<|eot_id|>", "<|eom_id|>"],
        ["<|im_end|>", "<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"],
        ["<end_of_turn>", "<eos>"],
        ["<|end|>", "<|return|>", "<|call|>"],
        ["<|end|>"],
        ["</s>", "<|tool_response>", "<turn|>"],
        ["<|end_of_text|>", "<EOT>", "[EOS]"],
    ],
)
def test_a_reply_ends_at_all_tokens_that_llama_cpp_ends_at(
    tmp_path: Path, llama_cpp: LlamaReference, byte_level: dict[str, Any], spelled: list[str]
) -> None:
    tokens = [*byte_level["tokenizer.ggml.tokens"], *spelled, "<|turn|>", "<|message_end|>"]
    count = len(tokens)
    said = byte_level | {"tokenizer.ggml.tokens": tokens}
    types = [*byte_level["tokenizer.ggml.token_type"], *[3] * (count - len(byte_level["tokenizer.ggml.tokens"]))]
    path = made(
        tmp_path / "m.gguf", said, token_type=types, eot_token_id=count - 2, eom_token_id=count - 1, pre="qwen2"
    )
    contents = joined(path)
    found = end_ids(Metadata(path.name, contents.metadata, contents.tensors))
    assert found == llama_cpp.ends(path, range(count - len(spelled) - 6, count))
    assert found >= {count - 2, count - 1, byte_level["tokenizer.ggml.eos_token_id"]}


def test_scores_that_leave_the_order_of_merges_open_are_refused(tmp_path: Path, sentence_piece: dict[str, Any]) -> None:
    for scores in (None, [0.0] * len(sentence_piece["tokenizer.ggml.tokens"])):
        with pytest.raises(ModelError, match="gives two tokens one score, which is not read exactly here"):
            ours(made(tmp_path / "m.gguf", sentence_piece, scores=scores))
