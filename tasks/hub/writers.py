"""Networks of the `transformers` library that write words about a photo: captions, and answers to questions.

Each photo and each question goes through alone: how many tokens a photo becomes depends on its shape, and what is
written of one must not depend, by padding, on the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.hub.classifiers import names
from muster.tasks.hub.network import Published

Written = tuple[str, float]  # words, and how sure they are
DESCRIBE = "Describe this photo in one sentence."  # what a chat model is told, where nothing else is
# The longest sides of photos for networks that see them in tiles or patches, as many as a photo is large
TILED = 2048
GREEDY = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1}
# What a model says of how it is to write that counts for nothing here: how chance is weighed, and how much is written
_OF_CHANCE = ("temperature", "top_k", "top_p", "min_p", "typical_p", "max_length")


@dataclass(frozen=True)
class Way:
    """How networks of one kind are asked. It is the `run` of their entries.

    `inputs`: (processor, picture, text, which may be "") → what goes in. `usual`: the text that captions are asked for
    with, where the user has none. `takes_text`: whether there can be another than that. `goes_on`: whether what is
    written continues the text of captions, which then begins them.
    """

    inputs: Callable[[Any, Any, str], Mapping[str, Any]]
    usual: str = ""
    takes_text: bool = True
    goes_on: bool = False

    def __call__(self, network: Any, device: torch.device) -> "Writer":
        assert isinstance(network, Published)
        return Writer(network, device, self)


class Writer:
    """Writes word by word, each time the likeliest (greedily), so that a photo is always given the same words."""

    def __init__(self, network: Published, device: torch.device, way: Way) -> None:
        self.network, self.device, self.way = network.to(device), device, way
        for name in _OF_CHANCE:
            setattr(self.network.network.generation_config, name, None)

    def caption(self, pixels: Pixels, text: str, most: int) -> Written:
        """uint8 RGB (H, W, 3) → words about it, and their score; of at most `most` tokens."""
        return self._write(pixels, text or self.way.usual, most, begun=text if self.way.goes_on else "")

    def answers(self, pixels: Pixels, questions: Sequence[str], most: int) -> list[Written]:
        """An answer to each question, and its score; of at most `most` tokens."""
        return [self._write(pixels, question, most) for question in questions]

    @torch.inference_mode()
    def _write(self, pixels: Pixels, text: str, most: int, begun: str = "") -> Written:
        """`begun`: the text, where what is written goes on from it, and is to be read with it."""
        inputs = self.way.inputs(self.network.processor, PillowImage.fromarray(pixels), text)
        inner: Any = self.network.network
        given = {name: each.to(self.device) for name, each in inputs.items() if isinstance(each, torch.Tensor)}
        made = inner.generate(**given, **GREEDY, max_new_tokens=most, return_dict_in_generate=True, output_logits=True)
        tokens = made.sequences[0, -len(made.logits) :]
        chances = torch.cat(made.logits).float().log_softmax(1).gather(1, tokens[:, None])
        said = self._read(tokens)
        if begun:  # a word may go on from the last one without a space
            said = begun + self._read(made.sequences[0])[len(self._read(made.sequences[0, : -len(tokens)])) :]
        return said.strip(), float(chances.mean().exp())

    def _read(self, tokens: torch.Tensor) -> str:
        return str(self.network.processor.tokenizer.decode(tokens, skip_special_tokens=True))

    def check(self, texts: Sequence[str], most: int) -> None:
        """TaskError where one of these, and what is written, is more than the network can hold in mind."""
        longest = getattr(self.network.config.get_text_config(), "max_position_embeddings", None)
        if longest is not None and most >= longest:
            raise TaskError(f"this model writes fewer than {longest} tokens: give a smaller `max_tokens` than {most}")
        _require_short(self.network.processor.tokenizer, texts, None if longest is None else longest - most)


class Chooser:
    """Chooses the answer among those that it was trained with: ViLT."""

    def __init__(self, network: Any, device: torch.device) -> None:
        assert isinstance(network, Published)
        self.network, self.device = network.to(device), device
        self.known = names(network.config)

    @torch.inference_mode()
    def answers(self, pixels: Pixels, questions: Sequence[str], most: int) -> list[Written]:
        """The likeliest answer to each question, and its probability: each is asked for by itself, as the network was
        trained, so that the probabilities of all do not sum to 1. `most` counts for nothing."""
        found = []
        for question in questions:
            inputs = self.network.processor(PillowImage.fromarray(pixels), question, return_tensors="pt")
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(0)  # ViLT draws in which order it looks at the parts of a photo
                logits = self.network.network(**inputs.to(self.device)).logits[0]
            chances = logits.sigmoid().cpu().numpy()
            best = int(np.argmax(chances))
            found.append((self.known[best], float(chances[best])))
        return found

    def check(self, texts: Sequence[str], most: int) -> None:
        """TaskError where one of these is longer than the network can read."""
        _require_short(self.network.processor.tokenizer, texts, self.network.config.max_position_embeddings)


def _require_short(tokenizer: Any, texts: Sequence[str], most: int | None) -> None:
    for text in texts:
        length = len(tokenizer(text)["input_ids"])
        if most is not None and length > most:
            shown = text if len(text) <= 40 else f"{text[:40]} …"
            raise TaskError(f"`{shown}` is {length} tokens, and this model reads at most {most}: say it in fewer words")


# ---- how each kind is asked ------------------------------------------------------------------------------------------


def way_of(task: str, network: str, processor: Any) -> Way:
    """How a network, by the name of its class, is asked. TaskError where Muster does not know, or it answers no
    questions."""
    if getattr(processor, "chat_template", None):
        return Way(_chat, usual=DESCRIBE)
    way = (CAPTIONS if task == "captions" else ANSWERS).get(network)
    if way is None and network in CAPTIONS:
        raise TaskError(f"it is {network}, which writes captions, and answers no questions")
    if way is None:
        raise TaskError(f"it is {network} without a chat template, which is asked in a way that Muster does not know")
    return way


def _chat(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    said = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": text}]}]
    found: Mapping[str, Any] = processor.apply_chat_template(
        said, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return found


def _together(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = processor(images=picture, text=text or None, return_tensors="pt")
    return found


def _blip2_question(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    return _together(processor, picture, f"Question: {text} Answer:")  # as its publisher asks


def _git(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    """The words follow the token that begins a text, and none ends them."""
    found = dict(processor(images=picture, return_tensors="pt"))
    if text:
        words = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        found["input_ids"] = torch.tensor([[processor.tokenizer.cls_token_id, *words]])
    return found


def _picture_alone(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = processor.image_processor(images=picture, return_tensors="pt")
    return found


CAPTIONS: Mapping[str, Way] = {
    "BlipForConditionalGeneration": Way(_together, goes_on=True),
    "Blip2ForConditionalGeneration": Way(_together, goes_on=True),
    "GitForCausalLM": Way(_git, goes_on=True),
    "VisionEncoderDecoderModel": Way(_picture_alone, takes_text=False),
}
ANSWERS: Mapping[str, Way] = {
    "BlipForQuestionAnswering": Way(_together),
    "Blip2ForConditionalGeneration": Way(_blip2_question),
    "GitForCausalLM": Way(_git),
}
