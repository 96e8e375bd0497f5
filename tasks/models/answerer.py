"""Which of a few answers a question about a picture has: a picture's encoder and a question's, put together.

After Antol et al., VQA: Visual Question Answering, ICCV 2015, section 4: both become vectors of one length, which are
multiplied number by number, and a softmax tells the answers. That the question stands beside the product too is not in
the paper: it alone says which answers there may be at all.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from muster.tasks.models.encoders import Block, Encoder, Plan
from muster.tasks.models.state_dict import facts_of, load, of_facts

SIDE = 64  # pixels
WORDS = Plan("text", (20,), (32, 48), (1,), dimensions=64, buckets=1 << 11)
WIDTHS = (16, 32, 64)
JOINT = 64
SEES = ("both", "question", "picture")


class Answerer(nn.Module):
    """`sees`: one of SEES; a network that lacks the picture or the question is what others are compared with."""

    def __init__(self, answers: Sequence[str], sees: str = "both") -> None:
        super().__init__()
        self.answers, self.sees = tuple(answers), sees
        self.question = Encoder(WORDS) if sees != "picture" else None
        self.picture = _pictures() if sees != "question" else None
        self.of_question, self.of_picture = nn.Linear(WORDS.dimensions, JOINT), nn.Linear(2 * WIDTHS[-1], JOINT)
        self.answer = nn.Sequential(nn.Linear(2 * JOINT, 2 * JOINT), nn.ReLU(), nn.Linear(2 * JOINT, len(self.answers)))

    def forward(self, pictures: torch.Tensor, questions: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        """Pictures (M, 3, SIDE, SIDE), RGB in -1..1, questions (N, L, PIECES) and the picture that each is `of`, (N,) →
        logits (N, answers)."""
        asked = self._asked(questions) if self.question is not None else None
        seen = self._seen(pictures)[of] if self.picture is not None else None
        if asked is None or seen is None:
            alone = asked if asked is not None else seen
            assert alone is not None
            return self.answer(torch.cat([alone, alone], 1))
        return self.answer(torch.cat([asked * seen, asked], 1))

    def _asked(self, questions: torch.Tensor) -> torch.Tensor:
        assert self.question is not None
        return self.of_question(self.question(questions) * WORDS.dimensions**0.5).tanh()  # numbers of about 1

    def _seen(self, pictures: torch.Tensor) -> torch.Tensor:
        assert self.picture is not None
        maps = self.picture(pictures)
        return self.of_picture(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)).tanh()


def _pictures() -> nn.Sequential:
    first, *others = WIDTHS
    stem = [nn.Conv2d(3, first, 5, 2, 2, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
    return nn.Sequential(*stem, *(Block(2, *pair, 3, 2) for pair in zip(WIDTHS, others, strict=False)))


def state_of(network: Answerer) -> dict[str, torch.Tensor]:
    """What is kept of a network."""
    return {**network.state_dict(), "said": of_facts({"answers": network.answers, "sees": network.sees})}


def from_state(state: Mapping[str, torch.Tensor]) -> Answerer:
    said = facts_of(state["said"])
    others = {name: value for name, value in state.items() if name != "said"}
    return load(Answerer(said["answers"], said["sees"]), others)
