"""Detectors of the `transformers` library, of the classes that they were trained on or of whatever words name."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.hub.classifiers import numbers
from muster.tasks.hub.network import Published, batches, in_order
from muster.tasks.objects import Found


class Detector:
    """Of known classes. Nothing that overlaps is left out: these networks find each thing once."""

    def __init__(self, network: Any, device: torch.device, min_score: float) -> None:
        assert isinstance(network, Published)
        self.network, self.device, self.min_score = network.to(device), device, min_score
        self.text: Mapping[str, torch.Tensor] = {}  # the tokens of what it is to look for in a photo

    def __call__(self, images: Sequence[Pixels]) -> list[Found]:
        found: dict[int, Found] = {}
        for places, inputs in batches(self.network, images, self.device):
            text = {name: value.repeat(len(places), 1) for name, value in self.text.items()}
            outputs = self.network.network(**inputs, **text)
            numbers(outputs.logits)
            found |= dict(zip(places, self._found(outputs, [images[i] for i in places]), strict=True))
        return in_order(found)

    def _found(self, outputs: Any, images: Sequence[Pixels]) -> list[Found]:
        sizes = [pixels.shape[:2] for pixels in images]
        each = self.network.image_processor.post_process_object_detection(
            outputs, threshold=self.min_score, target_sizes=sizes
        )
        return [_parts(one["boxes"], one["scores"], one["labels"], size) for one, size in zip(each, sizes, strict=True)]


class ByWords(Detector):
    """Of what each of `words` names: OWL-ViT and OWLv2, each word a question of its own."""

    def __init__(self, network: Any, device: torch.device, min_score: float, words: Sequence[str]) -> None:
        super().__init__(network, device, min_score)
        most = network.config.text_config.max_position_embeddings
        text = network.processor.tokenizer(list(words), padding="max_length", max_length=most)
        for word, tokens in zip(words, text["input_ids"], strict=True):
            if len(tokens) > most:
                raise TaskError(
                    f"`classes` {word[:40]} …: this model reads {most} tokens of each at most: say it shorter"
                )
        self.text = text.convert_to_tensors("pt").to(device)


class Grounded(Detector):
    """Of phrases in one sentence: Grounding DINO. Of a phrase, the surest of its tokens counts.

    The library gives the words above a threshold instead, which may be none of the phrases asked for.
    """

    def __init__(self, network: Any, device: torch.device, min_score: float, words: Sequence[str]) -> None:
        super().__init__(network, device, min_score)
        # As its publisher has it: small letters, a full stop behind each phrase.
        phrases = [word.lower() for word in words]
        if same := next((word for word, phrase in zip(words, phrases, strict=True) if phrases.count(phrase) > 1), None):
            raise TaskError(f"`classes` {same}: this model makes no difference between capital and small letters")
        sentence = " ".join(f"{phrase}." for phrase in phrases)
        tokens = network.processor.tokenizer(sentence, return_tensors="pt", return_offsets_mapping=True)
        if tokens["input_ids"].shape[1] > network.config.max_text_len:
            raise TaskError(
                f"{len(words)} classes are more than this model reads at once ({network.config.max_text_len} tokens):"
                " name fewer"
            )
        offsets = tokens.pop("offset_mapping")[0]
        self.text = tokens.to(device)
        lengths = torch.tensor([len(phrase) + 2 for phrase in phrases])
        ends = lengths.cumsum(0)
        begins = ends - lengths
        # (words, tokens): which tokens are of which phrase, without its full stop
        self.of = (
            (offsets[None, :, 0] >= begins[:, None])
            & (offsets[None, :, 1] <= ends[:, None] - 2)
            & (offsets[None, :, 1] > offsets[None, :, 0])
        ).to(device)
        for word, phrase, mask in zip(words, phrases, self.of, strict=True):
            if "." in phrase or not mask.any():
                raise TaskError(f"`classes` {word!r}: this model takes phrases of words, without full stops")

    def _found(self, outputs: Any, images: Sequence[Pixels]) -> list[Found]:
        return [self._phrases(*each) for each in zip(outputs.logits, outputs.pred_boxes, strict=True)]

    def _phrases(self, logits: torch.Tensor, boxes: torch.Tensor) -> Found:
        chances = logits[:, : self.of.shape[1]].sigmoid()  # (queries, tokens)
        scores, labels = (chances[:, None] * self.of).amax(2).max(1)
        kept = scores > self.min_score
        middle, size = boxes[kept].split(2, 1)
        xyxy = torch.cat([middle - size / 2, middle + size / 2], 1)
        return _parts(xyxy, scores[kept], labels[kept], (1, 1))


def _parts(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, size: tuple[int, int]) -> Found:
    """Boxes in pixels of an image of `size`, (height, width), as parts of its sides; the best first."""
    height, width = size
    order = torch.argsort(scores, descending=True, stable=True).cpu()
    sides = torch.tensor([width, height, width, height])
    return Found(boxes.cpu()[order] / sides, scores.cpu()[order], labels.cpu()[order])
