"""Questions about pictures, with their answers, from Parquet tables."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from muster.arrays import I64, Bools
from muster.errors import ImageError, InputError, TaskError
from muster.storage.photos import decode
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Plan
from muster.tasks.scenes import thumbnail
from muster.training.data.examples import TRAIN, OnSkipped, held_out
from muster.training.data.items import read_bytes, read_tables, rows_of

COLUMNS = ("image", "questions", "answers")  # of a row: a picture, and lists of as many texts
PICTURES_HELD_OUT = 1 / 6


@dataclass(frozen=True)
class Asked:
    """`pictures` (M, S, S, 3) uint8, `texts` (T, L, PIECES): each picture and question once. `rows` (N, 3): picture,
    question and answer, by their numbers, of each that was asked. `kept_out` (N,): those that are not learnt from, with
    all that are of one picture. `names`: of pictures."""

    pictures: torch.Tensor
    texts: torch.Tensor
    rows: I64
    kept_out: Bools
    answers: Sequence[str]
    names: Sequence[str]


def read_questions(sources: Sequence[str], side: int, plan: Plan, on_skipped: OnSkipped) -> Asked:
    """Tables with the columns COLUMNS; `split` says which rows are for training, else a hash of the picture.

    What cannot be read is told and left out. InputError where a table has no such columns, or nothing is left.
    """
    names, table = read_tables(sources, COLUMNS, None)
    splits = table["split"].to_pylist() if "split" in table.column_names else [None] * table.num_rows
    texts, answers = dict[str, int](), dict[str, int]()
    pictures, numbers = list[Any](), dict[str, int]()  # SHA-256 → number: a picture may be in several rows
    rows, out, kept = list[tuple[int, int, int]](), list[bool](), list[str]()
    for name, split, (data, questions, said) in zip(names, splits, rows_of(table, COLUMNS), strict=True):
        try:
            pixels = thumbnail(decode.decode(read_bytes(data), 4 * side).pixels, side)
            pairs = _pairs(questions, said)
        except (ImageError, TaskError) as error:
            on_skipped(f"{name}: {error}")
            continue
        digest = hashlib.sha256(read_bytes(data)).hexdigest()
        if digest not in numbers:
            numbers[digest] = len(pictures)
            pictures.append(pixels)
            kept.append(name)
        for question, answer in pairs:
            asked, found = texts.setdefault(question, len(texts)), answers.setdefault(answer, len(answers))
            rows.append((numbers[digest], asked, found))
        out += [split != TRAIN if split is not None else held_out(digest, PICTURES_HELD_OUT)] * len(pairs)
    if not rows:
        raise InputError(f"no question of {', '.join(sources)} can be read")
    order = sorted(answers)  # by their names, not by who was asked first
    place = np.argsort(np.argsort(list(answers)))
    numbered = np.array(rows, np.int64)
    numbered[:, 2] = place[numbered[:, 2]]
    made = torch.from_numpy(np.stack([encoders.pieces(text, plan) for text in texts]))
    return Asked(torch.from_numpy(np.stack(pictures)), made, numbered, np.array(out), order, kept)


def _pairs(questions: Any, answers: Any) -> list[tuple[str, str]]:
    if not isinstance(questions, list) or not isinstance(answers, list) or len(questions) != len(answers):
        raise TaskError("it has no questions, or not an answer for each")
    pairs = [(q, a) for q, a in zip(questions, answers, strict=True) if _is_text(q) and _is_text(a)]
    if not pairs:
        raise TaskError("none of its questions has an answer")
    return pairs


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
