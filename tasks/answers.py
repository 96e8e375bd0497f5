"""The task `answers`: questions about each photo, answered by a published model that the user names.

One row for each photo and question, in the order of the questions. `score`, in 0..1: of a network that chooses among
answers (ViLT), the probability of the one chosen; of one that writes, as for captions (muster.tasks.captions).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, shrink
from muster.tasks.captions import LOOKING, MAX_TOKENS, PER_TOKEN, roles, table_of, text_of
from muster.tasks.features import side_of
from muster.tasks.models import zoo

MOST = 20  # questions at once


def questions_of(value: Any) -> list[str]:
    """A text with `|` between questions, or several texts → them. A question that is asked twice is asked once."""
    texts = value.split("|") if isinstance(value, str) else value
    try:
        found = list(dict.fromkeys(map(text_of, texts)))
    except TypeError:
        raise ValueError("give a question, or several with | between them") from None
    if not 1 <= len(found) <= MOST:
        raise ValueError(f"give 1 to {MOST} questions, not {len(found)}")
    return found


class Answers(Task):
    name = "answers"
    version = 1
    schema = pa.schema(
        [IMAGE_ID, pa.field("question", pa.string()), pa.field("answer", pa.string()), pa.field("score", pa.float32())]
    )
    options: Mapping[str, Option] = {
        "questions": Option(questions_of, "what is asked of each photo; several with | between them", None),
        "max_tokens": MAX_TOKENS,
    }
    findings = Findings(noun="answer", score="score", filters=False)

    def __init__(self, model: str | None = None, questions: Sequence[str] | None = None, max_tokens: int = 40) -> None:
        self.models = roles(self.name, model)
        if not questions:
            raise TaskError("task 'answers' needs `questions`: what is asked of each photo")
        self.max_side = side_of(self.models["writer"], 640)
        self.questions, self.max_tokens = questions, max_tokens
        self.patience = (LOOKING + PER_TOKEN * max_tokens) * len(questions)
        self.parameters: Mapping[str, Any] = {"questions": list(questions), "max_tokens": max_tokens}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = zoo.ENTRIES[self.models["writer"]]
        self.writer = entry.run(entry.build(weights[entry.name]), device)
        self.writer.check(self.questions, self.max_tokens)

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        rows = []
        for image in images:
            found = self.writer.answers(shrink(image, self.max_side).pixels, self.questions, self.max_tokens)
            for question, (answer, score) in zip(self.questions, found, strict=True):
                rows.append({"image_id": image.image_id, "question": question, "answer": answer, "score": score})
        return table_of(rows, self.schema)
