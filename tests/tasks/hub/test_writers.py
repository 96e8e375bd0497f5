"""Words that published networks write: those of plain uses of the library, with the same scores."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from helpers.published_words import save
from muster.arrays import Pixels
from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.tasks.base import Image
from muster.tasks.hub.writers import DESCRIBE

transformers = pytest.importorskip("transformers")

CPU = torch.device("cpu")
QUESTIONS = ["what colour is the car?", "how many dogs", "每张照片里有多少只狗？"]
SHAPES = [(60, 80), (120, 64), (200, 333), (64, 64), (90, 31)]  # height, width
MOST = 9
Saved = Callable[[str], Path]
Said = list[tuple[str, float]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    def folder(kind: str) -> Path:
        place = tmp_path_factory.getbasetemp() / f"model-{kind}"
        return place if place.exists() else save(kind, place)

    return folder


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (*shape, 3), np.uint8) for shape in SHAPES]


@pytest.fixture(autouse=True)
def _without_num2words(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM's processor counts the frames of videos in words, and asks for the package that does in any case."""
    from transformers.models.smolvlm import processing_smolvlm

    monkeypatch.setattr(processing_smolvlm, "num2words", str)


def rows(task: str, folder: Path, photos: list[Pixels], **options: Any) -> Said:
    """What Muster writes of all photos in one call; that each alone is given the same is asserted."""
    loaded = TaskChoice(name=task, model=f"hf:{folder}", options={"max_tokens": MOST, **options}).load(CPU, None)
    images = [Image(str(i), pixels, 1.0, pixels.shape[1::-1]) for i, pixels in enumerate(photos)]
    made = loaded(images)
    for image in images:
        alone = loaded([image]).to_pylist()
        assert alone == [row for row in made.to_pylist() if row["image_id"] == image.image_id]
    return list(zip(made[task.removesuffix("s")].to_pylist(), made["score"].to_pylist(), strict=True))


def check(found: Said, wanted: Said) -> None:
    assert [words for words, _ in found] == [words for words, _ in wanted]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in wanted], atol=1e-4)
    assert len(set(found)) > 1  # so that a photo counts


def plain(network: Any, decoder: Any, inputs: Mapping[str, Any], decode: Callable[..., str]) -> tuple[str, float]:
    """As the library's pages show it: `generate`, `decode`, and `compute_transition_scores` for the tokens' chances."""
    made = network.generate(
        **inputs, do_sample=False, num_beams=1, max_new_tokens=MOST, return_dict_in_generate=True, output_scores=True
    )
    chances = decoder.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)[0]
    words = decode(made.sequences[0, -len(made.scores) :], skip_special_tokens=True)
    return words.strip(), float(np.exp(np.mean(chances.numpy())))


def test_captions_of_blip_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("blip")
    network = transformers.BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = [
        plain(
            network,
            network.text_decoder,
            processor(images=PillowImage.fromarray(pixels), return_tensors="pt"),
            processor.decode,
        )
        for pixels in photos
    ]
    check(rows("captions", folder, photos), wanted)
    pipeline = transformers.pipeline("image-text-to-text", model=str(folder))
    told = [
        pipeline(
            PillowImage.fromarray(pixels),
            text="a photo of",
            generate_kwargs={"do_sample": False, "num_beams": 1, "max_new_tokens": MOST},
        )[0]["generated_text"]
        for pixels in photos
    ]
    begun = rows("captions", folder, photos, prompt="a photo of")
    assert [words for words, _ in begun] == [words.strip() for words in told]
    assert all(words.startswith("a photo of") for words, _ in begun)


def test_captions_of_git_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("git")
    network = transformers.GitForCausalLM.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = [
        plain(network, network, {"pixel_values": _pictures(processor, pixels)}, processor.decode) for pixels in photos
    ]
    check(rows("captions", folder, photos), wanted)


def test_captions_of_blip2_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("blip2")
    network = transformers.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = [
        plain(network, network.language_model, {"pixel_values": _pictures(processor, pixels)}, processor.decode)
        for pixels in photos
    ]
    check(rows("captions", folder, photos), wanted)


def test_captions_of_an_encoder_and_a_decoder_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("vit_gpt2")
    network = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
    pictures = transformers.AutoImageProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    wanted = [
        plain(
            network,
            network,
            pictures(images=PillowImage.fromarray(pixels), return_tensors="pt"),
            tokenizer.decode,
        )
        for pixels in photos
    ]
    check(rows("captions", folder, photos), wanted)
    with pytest.raises(TaskError, match="captions: this model looks at photos alone, and takes no `prompt`"):
        rows("captions", folder, photos, prompt="a photo of")


@pytest.mark.parametrize("kind", ["idefics3", "llava", "qwen", "smolvlm"])
def test_words_of_chat_models_are_those_of_the_librarys_pipeline(kind: str, saved: Saved, photos: list[Pixels]) -> None:
    folder = saved(kind)
    pipeline = transformers.pipeline("image-text-to-text", model=str(folder))

    def told(pixels: Pixels, text: str) -> str:
        content = [{"type": "image", "image": PillowImage.fromarray(pixels)}, {"type": "text", "text": text}]
        made = pipeline(
            text=[{"role": "user", "content": content}],
            return_full_text=False,
            generate_kwargs={"do_sample": False, "num_beams": 1, "max_new_tokens": MOST},
        )
        return str(made[0]["generated_text"]).strip()

    for prompt in (None, "每张照片"):
        found = rows("captions", folder, photos, prompt=prompt)
        assert [words for words, _ in found] == [told(pixels, prompt or DESCRIBE) for pixels in photos]
    found = rows("answers", folder, photos, questions=QUESTIONS)
    assert [words for words, _ in found] == [told(pixels, question) for pixels in photos for question in QUESTIONS]
    inputs = pipeline.processor.apply_chat_template(
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": PillowImage.fromarray(photos[2])},
                    {"type": "text", "text": QUESTIONS[0]},
                ],
            }
        ],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert (inputs["pixel_values"].dim() == 5) == (kind in ("idefics3", "smolvlm"))  # several tiles
    check([*found[:1], found[6]], [found[0], plain(pipeline.model, pipeline.model, inputs, pipeline.processor.decode)])


def test_answers_of_blip_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("blip_vqa")
    network = transformers.BlipForQuestionAnswering.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = [
        plain(
            network,
            network.text_decoder,
            processor(images=PillowImage.fromarray(pixels), text=question, return_tensors="pt"),
            processor.decode,
        )
        for pixels in photos
        for question in QUESTIONS
    ]
    check(rows("answers", folder, photos, questions=QUESTIONS), wanted)


def test_answers_of_blip2_are_asked_for_as_its_publisher_does(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("blip2")
    network = transformers.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = [
        plain(
            network,
            network.language_model,
            processor(PillowImage.fromarray(pixels), f"Question: {question} Answer:", return_tensors="pt"),
            processor.decode,
        )
        for pixels in photos
        for question in QUESTIONS
    ]
    check(rows("answers", folder, photos, questions=QUESTIONS), wanted)


def test_answers_of_git_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    folder = saved("git")
    network = transformers.GitForCausalLM.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = []
    for pixels in photos:
        for question in QUESTIONS:
            words = processor(text=question, add_special_tokens=False).input_ids
            ids = torch.tensor([processor.tokenizer.cls_token_id, *words])[None]
            inputs = {"pixel_values": _pictures(processor, pixels), "input_ids": ids}
            wanted.append(plain(network, network, inputs, processor.decode))
    check(rows("answers", folder, photos, questions=QUESTIONS), wanted)


def test_answers_that_are_chosen_are_those_of_the_library(saved: Saved, photos: list[Pixels]) -> None:
    """As its pipeline for questions had it: the sigmoid of each answer."""
    folder = saved("vilt")
    network = transformers.ViltForQuestionAnswering.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wanted = []
    for pixels in photos:
        for question in QUESTIONS:
            with torch.no_grad():
                inputs = processor(PillowImage.fromarray(pixels), question, return_tensors="pt")
                chances = network(**inputs).logits[0].sigmoid()
            best = int(chances.argmax())
            wanted.append((network.config.id2label[best], float(chances[best])))
    check(rows("answers", folder, photos, questions=QUESTIONS), wanted)


def _pictures(processor: Any, pixels: Pixels) -> torch.Tensor:
    found: torch.Tensor = processor(images=PillowImage.fromarray(pixels), return_tensors="pt").pixel_values
    return found


def test_what_a_model_says_of_chance_counts_for_nothing_and_of_words_it_does(
    saved: Saved, photos: list[Pixels], tmp_path: Path
) -> None:
    """Sampling, beams and lengths are the task's affair; words that a model never writes are its own."""
    folder = save("git", tmp_path / "model")
    before = rows("captions", folder, photos)
    file = folder / "generation_config.json"
    said = json.loads(file.read_text())
    by_chance = {"do_sample": True, "temperature": 3.0, "top_k": 7, "num_beams": 3, "num_return_sequences": 2}
    file.write_text(json.dumps(said | by_chance | {"max_length": 4}))
    assert rows("captions", folder, photos) == before
    never = [
        i for word, i in transformers.AutoTokenizer.from_pretrained(folder).get_vocab().items() if word in before[0][0]
    ]
    file.write_text(json.dumps(said | {"suppress_tokens": never}))
    after = rows("captions", folder, photos)
    assert after[0][0] != before[0][0]


@pytest.mark.parametrize(
    ("task", "kind", "options", "text"),
    [
        ("captions", "blip_vqa", {}, "it is BlipForQuestionAnswering, and none of the networks that do captions"),
        ("captions", "vilt", {}, "none of the networks that do captions; it does answers"),
        ("answers", "blip", {"questions": "who?"}, "which writes captions, and answers no questions"),
        ("answers", "vit_gpt2", {"questions": "who?"}, "which writes captions, and answers no questions"),
        ("answers", "vilt", {"questions": "how many dogs " * 15}, "is 62 tokens, and this model reads at most 40"),
        ("captions", "blip", {"max_tokens": 64}, "writes fewer than 64 tokens: give a smaller `max_tokens` than 64"),
        ("captions", "blip", {"prompt": "a cat " * 30}, "is 62 tokens, and this model reads at most 55"),
    ],
)
def test_what_cannot_be_is_said_before_any_photo(
    task: str, kind: str, options: dict[str, Any], text: str, saved: Saved
) -> None:
    with pytest.raises(TaskError, match=text):
        rows(task, saved(kind), [], **options)


def test_a_model_that_is_asked_in_no_known_way(saved: Saved, tmp_path: Path) -> None:
    folder = save("idefics3", tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(TaskError, match="it is Idefics3ForConditionalGeneration without a chat template"):
        rows("captions", folder, [])
