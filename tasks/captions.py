"""The task `captions`: a photo in words, by a published model that the user names; one row for each photo.

Each word is the likeliest after those before it (greedy decoding), so that no row depends on chance. `score`, in 0..1,
says how sure the words are: exp of the mean log probability of the tokens that were written, the one that ends them
among these, by the network's own logits. It compares captions of one model; between models it means nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, shrink, whole
from muster.tasks.features import side_of
from muster.tasks.models import zoo

LONGEST = 1000  # letters of a text that a model is given
# Seconds that a network may take to look at a photo, and for each token. A chat model of 256 million parameters took 53
# on one core, and 0.9 (benchmarks/words.py); people run some of ten times the size.
LOOKING, PER_TOKEN = 1200.0, 3.0
MAX_TOKENS = Option(whole(1, 1000), "tokens (words, or parts of them) that are written at most", 40)


def text_of(value: Any) -> str:
    """For `Option.parse`: a text of any script, without white space around it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text that is not empty")
    if len(value) > LONGEST:
        raise ValueError(f"give a text of at most {LONGEST} letters; this has {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("give a text that is Unicode; this has half a character in it") from None
    return value.strip()


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table. No table holds half of a surrogate pair, which a model may write: it becomes a question mark."""
    sound = [
        {name: each.encode(errors="replace").decode() if isinstance(each, str) else each for name, each in row.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(sound, schema)


def roles(task: str, model: str | None) -> Mapping[str, str]:
    """Role → entry name of the model that the user named. TaskError where none was."""
    if model is None:
        raise TaskError(
            f"task {task!r} has no model of its own: name a published one, `model` {task}=hf:FOLDER, with the folder"
            " where it lies"
        )
    return zoo.roles(task, model)


class Captions(Task):
    name = "captions"
    version = 1
    schema = pa.schema([IMAGE_ID, pa.field("caption", pa.string()), pa.field("score", pa.float32())])
    options: Mapping[str, Option] = {
        "prompt": Option(text_of, "what a chat model is told; what the captions of others begin with", None),
        "max_tokens": MAX_TOKENS,
    }
    findings = Findings(noun="caption", score="score", filters=False)

    def __init__(self, model: str | None = None, prompt: str | None = None, max_tokens: int = 40) -> None:
        self.models = roles(self.name, model)
        run = zoo.ENTRIES[self.models["writer"]].run
        if prompt is not None and not run.takes_text:
            raise TaskError("captions: this model looks at photos alone, and takes no `prompt`")
        self.max_side = side_of(self.models["writer"], 640)
        self.prompt, self.max_tokens = prompt, max_tokens
        self.patience = LOOKING + PER_TOKEN * max_tokens
        self.parameters: Mapping[str, Any] = {"prompt": prompt, "max_tokens": max_tokens}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = zoo.ENTRIES[self.models["writer"]]
        self.writer = entry.run(entry.build(weights[entry.name]), device)
        self.writer.check([self.prompt or ""], self.max_tokens)

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        rows = []
        for image in images:
            pixels = shrink(image, self.max_side).pixels
            caption, score = self.writer.caption(pixels, self.prompt or "", self.max_tokens)
            rows.append({"image_id": image.image_id, "caption": caption, "score": score})
        return table_of(rows, self.schema)
