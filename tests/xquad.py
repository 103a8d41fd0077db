"""Invented questions in the form of the XQuAD files."""

import json
from pathlib import Path


def write_questions(folder: Path, articles: int = 4, questions: int = 6, answers: tuple[str, ...] = ("blue",)) -> Path:
    """Both files: `articles` articles in train and half as many in dev, `questions` questions each."""
    for name, first, count in (("train", 0, articles), ("dev", articles, max(1, articles // 2))):
        rows = [
            {
                "id": f"q-{article}-{number}",
                "article": f"Article {article}",
                "passage": f"The wall of house {article} is blue.",
                "question": f"Which colour has wall {number}?",
                "answers": list(answers),
            }
            for article in range(first, first + count)
            for number in range(questions)
        ]
        path = folder / f"xquad_en_{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder
