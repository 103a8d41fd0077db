"""A lane's texts: every token has its own share of the reply, whatever streamed, and they join to the reply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from playground.decoding.engine import stream
from playground.decoding.policies.base import Resources, Row
from playground.decoding.policies.fixed import KIND
from playground.decoding.policies.spec import parse
from playground.decoding.trace import Finished, LaneStep, Request, Trace
from tests.sentencepiece_like import speller
from tests.table_lm import Reply, TableLM, no_head

STRAY = "\ufffd"


def written(ids: Sequence[int], model: TableLM, stop: tuple[str, ...] = ()) -> tuple[list[LaneStep], Trace]:
    """What streams, and the trace, where the model writes these tokens."""
    request = Request("x", max_tokens=len(ids), stop=stop)
    *events, last = stream(model, request, [Row(parse("fixed:temperature=0", [KIND]))], Resources(no_head))
    assert isinstance(last, Finished)
    return [step for event in events if isinstance(event, tuple) for step in event], last.traces[0]


class ByteLM(TableLM):
    """Writes `ids`, which are bytes; 256 ends the reply."""

    def __init__(self, ids: Sequence[int], vocabulary: int = 257, end: int = 256) -> None:
        def logits(reply: Reply) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.tensor(ids[len(reply)]), vocabulary).double()

        super().__init__(logits, vocabulary, frozenset({end}))

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i < 256).decode("utf-8", errors="replace")


@pytest.mark.parametrize("byte", [0x80, 0xE2, 0xFF])
@pytest.mark.parametrize("after", [b"", b"x", "☀".encode()])
def test_forty_stray_bytes_are_shared_out_and_stream_while_they_come(byte: int, after: bytes) -> None:
    ids = [*b"a", *[byte] * 40, *after]
    passed, trace = written(ids, ByteLM(ids))
    assert trace.text == bytes(ids).decode(errors="replace")
    assert "".join(step.text for step in trace.steps) == trace.text
    assert [step.text for step in trace.steps[:41]] == ["a", *[STRAY] * 40]
    assert "".join(one.step.text for one in passed) == trace.text
    early = "".join(one.step.text for one in passed[:30])
    assert early.count(STRAY) >= 25


def test_what_is_held_back_at_the_end_token_belongs_to_the_tokens_that_began_it() -> None:
    ids = [*b"ab", 0xE2, 0xE2, 0x98, 256]
    _, trace = written(ids, ByteLM(ids))
    assert trace.stop == "end"
    assert [step.text for step in trace.steps] == ["a", "b", STRAY, STRAY, "", ""]
    assert trace.text == bytes(ids[:-1]).decode(errors="replace")


def test_a_stop_string_behind_stray_bytes_ends_the_reply() -> None:
    ids = [*b"ab", 0xE2, *b"cd", *b"never"]
    passed, trace = written(ids, ByteLM(ids), stop=("cd",))
    assert (trace.stop, trace.text) == ("stop_string", f"ab{STRAY}cd")
    assert passed[-1].stop == "stop_string"


def test_an_unknown_token_and_stray_bytes_take_no_blank_from_the_words_of_a_reply() -> None:
    spelling = speller()
    the, story = (spelling.encode_text(text)[0] for text in ("the", "story"))
    stray = int(spelling.tokenizer.convert_tokens_to_ids("<0xE2>"))
    ids = [the, 0, story, stray, story, 0, 0, story]
    model = ByteLM(ids, vocabulary=len(spelling.tokenizer), end=2)
    model.decode, model.token_text = spelling.decode, spelling.token_text  # type: ignore[method-assign]
    _, trace = written(ids, model)
    blank = spelling.token_text(story)
    assert blank.startswith(" ")
    assert [step.text for step in trace.steps] == [spelling.decode([the]), "", blank, STRAY, blank, "", "", blank]
    for step in trace.steps:
        for other in step.alternatives:
            assert other.text == spelling.token_text(other.id)
