"""Questions about pictures: `vqa`, and what the question alone (`vqa-question`) and the picture alone (`vqa-picture`)
are worth, which is what says whether a network has looked."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import Ints
from muster.errors import InputError
from muster.tasks.models.answerer import SIDE, WORDS, Answerer, state_of
from muster.tasks.scenes import normalised
from muster.training.data.questions import read_questions
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(steps=1500, batch=256, learning_rate=2e-3, average=0.99, report_every=50)
OF_ONE = 4  # questions about one picture in a batch: pictures are what takes time
AT_ONCE = 64  # pictures, where it is measured


class VqaRecipe:
    """An answerer that sees `sees`, of muster.tasks.models.answerer.SEES."""

    def __init__(self, inputs: Inputs, sees: str, name: str) -> None:
        self.name, self.sees = name, sees
        if inputs.label is not None:
            raise InputError(f"`label` {inputs.label}: {name} reads the columns image, questions and answers")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.asked = asked = read_questions(inputs.images, SIDE, WORDS, inputs.on_skipped)
        learnt = asked.rows[~asked.kept_out]
        if len(np.unique(learnt[:, 2])) < 2:
            raise InputError(f"{len(learnt)} questions to learn from have fewer than two answers: give more")
        self.of_picture = _by_picture(learnt)
        self.measured = _by_picture(asked.rows[asked.kept_out])
        settings = replace(SETTINGS, batch=min(SETTINGS.batch, OF_ONE * len(self.of_picture)))
        self.settings = adjusted(settings, inputs, len(learnt))

    def network(self) -> nn.Module:
        return Answerer(self.asked.answers, self.sees)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = np.random.default_rng(seed_of(self.settings.seed, step))
        count = max(2, self.settings.batch // OF_ONE)
        chosen = random.permutation(len(self.of_picture))[:count]
        rows = [random.permutation(self.of_picture[number])[:OF_ONE] for number in chosen][rank::ranks]
        return self._shown(rows)

    def _shown(self, rows: list[Ints]) -> dict[str, Any]:
        """`rows`: of each picture, some of what was asked of it."""
        pictures = torch.tensor([each[0, 0] for each in rows])
        every = torch.from_numpy(np.concatenate(rows))
        return {
            "pictures": normalised(self.asked.pictures[pictures]).to(self.device),
            "questions": self.asked.texts[every[:, 1]].to(self.device),
            "of": torch.repeat_interleave(torch.tensor([len(each) for each in rows])).to(self.device),
            "answers": every[:, 2].to(self.device),
            "names": [self.asked.names[number] for number in pictures.tolist()],
        }

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits = network(batch["pictures"], batch["questions"], batch["of"]).float()
        return {"loss": F.cross_entropy(logits, batch["answers"])}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the pictures kept out: the share of answers that are right, and of those to questions of yes or no."""
        right, wanted = list[torch.Tensor](), list[torch.Tensor]()
        for begin in range(0, len(self.measured), AT_ONCE):
            shown = self._shown(self.measured[begin : begin + AT_ONCE])
            said = network(shown["pictures"], shown["questions"], shown["of"]).argmax(1)
            right.append((said == shown["answers"]).cpu())
            wanted.append(shown["answers"].cpu())
        if not right:
            return {}
        every, answers = torch.cat(right).double(), torch.cat(wanted)
        binary = torch.isin(answers, torch.tensor([n for n, a in enumerate(self.asked.answers) if a in ("yes", "no")]))
        figures = {"accuracy": every.mean(), "yes_or_no": every[binary].mean(), "others": every[~binary].mean()}
        return {name: float(value) for name, value in figures.items()}

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        assert isinstance(network, Answerer)
        return state_of(network)

    def card(self) -> dict[str, Any]:
        return {
            "kind": "answers to questions about pictures",
            "sees": self.sees,
            "answers": list(self.asked.answers),
            "pictures": len(self.of_picture),
            "questions": sum(map(len, self.of_picture)),
            "held_out": {"pictures": len(self.measured), "questions": sum(map(len, self.measured))},
            "loss": "cross-entropy",
        }


def _by_picture(rows: Ints) -> list[Ints]:
    """Rows (N, 3), those of each picture together."""
    order = np.argsort(rows[:, 0], kind="stable")
    found = rows[order]
    return [each for each in np.split(found, np.flatnonzero(np.diff(found[:, 0])) + 1) if len(each)]


def _build(inputs: Inputs, sees: str, name: str) -> Recipe:
    return VqaRecipe(inputs, sees, name)


BUILDS = {
    name: partial(_build, sees=sees, name=name)
    for name, sees in {"vqa": "both", "vqa-question": "question", "vqa-picture": "picture"}.items()
}
