"""What later looks found about heads that ship, on data that had no part in making or measuring them.

A card is written from its head's meta. These figures are not of the command that made the head, so they stand here, by what
the head was learned from and for which model; a head that is learned from other data has none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.meta import Meta

EMBEDDED = "Q4_1-gguf-b179c9523d0e6a0f"
FOUND: Mapping[tuple[str, str], Sequence[str]] = {
    ("868bd5a7e4c624ab", EMBEDDED): (
        "The suites above hold the articles and classes that this recipe was chosen and taught with. Later looks, not by these folds:\n",
        "- On data unused before (8 articles, 16 classes of entities) \"beats every fixed temperature\" did not replicate: −.018 ± .079",
        "  against T = .4 (head minus it, 95 % t interval over clusters). \"Beats its own temperatures on shuffled prompts\" did: +.051 ± .032.",
        "- The head follows the begun reply more than the request; in what it learned from, each kind of prompt had its own beginning. The same",
        "  45 word problems of SVAMP, asked as the grounded tasks are, get T = 0 each where the reply begins \"According to the passage,\" or has",
        "  no beginning, and a mean of .52 where it begins \"My answer is\" (.17 with \"The answer is\"); 46 questions of XQuAD: 0, 0, .58 and .46.",
        "  45 prompts for a random thing get .03 where the reply begins \"According to the passage,\", .55 with no beginning, .60 with the others.",
        "- So its figures say that it tells these two kinds of prompt in these two wordings apart, and no more.",
    ),
    ("ce02539b57378e21", EMBEDDED): (
        "- On natural prompts it says hard nearly always: to 450 of 474 (71 of 80 first turns of MT-Bench, 67 of 70 of NoveltyBench, all 72 writing",
        "  prompts, 240 of 252 user-oriented instructions of self-instruct), easy to the other 24; an earlier look found 420 of 440. So",
        "  `preset=auto` is the preset hard (T .4, half the length) on 95 % of them, until the probe is learned anew.",
    ),
}  # fmt: skip


def lines(meta: Meta) -> list[str]:
    """The lines for the card of the head that `meta` describes; none for most."""
    return list(FOUND.get((meta.data_sha256[:16], meta.base.revision), ()))
