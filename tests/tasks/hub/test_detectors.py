"""Detectors of the `transformers` library: rows as those of its own pipeline, on photos of every shape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.published import by_image, loaded, photos, picture, save
from muster.errors import TaskError
from muster.tasks.base import Image
from muster.tasks.hub.detectors import Grounded
from muster.tasks.objects import Objects
from muster.testing import check_task

CLOSED = ("d_fine", "rt_detr", "rt_detr_v2", "rf_detr", "detr", "detr_timm", "yolos")
LEAST = 0.05
WORDS = ("a red car", "cat", "our dog")

Box = tuple[str, float, list[float]]


def test_nothing_is_compared_that_is_not_there() -> None:
    """The comparison itself sees a score, a label and a side that differ."""
    one: Box = ("cat", 0.5, [1, 2, 30, 40])
    assert same([one], [one], (100, 100)) == 1
    for other in (("dog", 0.5, one[2]), ("cat", 0.5002, one[2]), ("cat", 0.5, [1, 2, 30, 42.0])):
        with pytest.raises(AssertionError):
            same([one], [other], (100, 100))


def same(theirs: Sequence[Box], ours: Sequence[Box], size: tuple[int, int]) -> int:
    """How many finds both have; AssertionError where one of either has none in the other. A find that has no area
    within its image is none."""
    sides = (*size, *size)
    inside = [
        (label, score, [min(max(x, 0), most) for x, most in zip(box, sides, strict=True)])
        for label, score, box in theirs
    ]
    wanted = [each for each in inside if each[2][0] < each[2][2] and each[2][1] < each[2][3]]
    for some, others in ((wanted, ours), (ours, inside)):
        for label, score, box in some:
            if score > LEAST + 1e-4:
                assert any(
                    label == name
                    and abs(score - other) <= 1e-4
                    and all(abs(a - b) <= 1.001 for a, b in zip(box, sides, strict=True))
                    for name, other, sides in others
                ), (label, score, box)
    return len(wanted)


def found(rows: Sequence[dict[str, Any]]) -> list[Box]:
    return [(row["label"], row["score"], row["box_xyxy"]) for row in rows]


def piped(answers: Sequence[dict[str, Any]]) -> list[Box]:
    names = ("xmin", "ymin", "xmax", "ymax")
    return [(each["label"], each["score"], [each["box"][name] for name in names]) for each in answers]


@pytest.mark.parametrize("kind", CLOSED)
def test_of_known_classes(kind: str, tmp_path: Path, data: Path) -> None:
    import transformers as hf

    folder, images = save(kind, tmp_path / kind), photos(data)
    rows = loaded("objects", folder, min_score=LEAST)(images)
    run = hf.pipeline("object-detection", model=str(folder), device="cpu")
    compared = 0
    for image, ours in zip(images, by_image(rows, images), strict=True):
        compared += same(piped(run(picture(image), threshold=LEAST)), found(ours), image.size)
    assert compared > 100


@pytest.mark.parametrize("kind", CLOSED)
def test_alone_and_together(kind: str, tmp_path: Path, data: Path) -> None:
    task, images = loaded("objects", save(kind, tmp_path / kind), min_score=LEAST), photos(data, 12)
    together = task(images)
    alone = [task([image]) for image in images]
    assert together.to_pylist() == [row for each in alone for row in each.to_pylist()]
    assert len(together)


def test_of_what_words_name(tmp_path: Path, data: Path) -> None:
    """OWLv2: as the library's pipeline, which asks for one word after another."""
    import transformers as hf

    folder, images = save("owlv2", tmp_path / "owlv2"), photos(data)
    rows = loaded("objects", folder, classes=",".join(WORDS), min_score=LEAST)(images)
    processor = hf.AutoProcessor.from_pretrained(folder)
    network = hf.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    compared = 0
    for image, ours in zip(images, by_image(rows, images), strict=True):
        text = processor.tokenizer(list(WORDS), padding="max_length", max_length=16, return_tensors="pt")
        inputs = processor.image_processor(picture(image), return_tensors="pt")
        with torch.inference_mode():
            outputs = network(**inputs, **text)
        [theirs] = processor.post_process_grounded_object_detection(
            outputs, threshold=LEAST, target_sizes=[image.pixels.shape[:2]], text_labels=[list(WORDS)]
        )
        boxes = list(zip(theirs["text_labels"], theirs["scores"].tolist(), theirs["boxes"].tolist(), strict=True))
        compared += same(boxes, found(ours), image.size)
    assert compared > 100


@pytest.mark.parametrize("word", WORDS)
def test_of_a_phrase_in_a_sentence(word: str, tmp_path: Path, data: Path) -> None:
    """Grounding DINO, of one phrase: the library's score is that of the surest token, of the full stop too."""
    import transformers as hf

    folder, images = save("grounding_dino", tmp_path / "dino"), photos(data, 12)
    rows = loaded("objects", folder, classes=word, min_score=LEAST)(images)
    processor = hf.AutoProcessor.from_pretrained(folder)
    network = hf.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    compared = 0
    for image, ours in zip(images, by_image(rows, images), strict=True):
        inputs = processor(images=picture(image), text=f"{word}.", return_tensors="pt")
        tokens = len(processor.tokenizer(word, add_special_tokens=False)["input_ids"])
        with torch.inference_mode():
            outputs = network(**inputs)
            outputs.logits[:, :, [0, *range(1 + tokens, outputs.logits.shape[2])]] = -100.0
        [theirs] = processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=LEAST, target_sizes=[image.pixels.shape[:2]]
        )
        boxes = [
            (word, score, box) for score, box in zip(theirs["scores"].tolist(), theirs["boxes"].tolist(), strict=True)
        ]
        compared += same(boxes, found(ours), image.size)
    assert compared


def test_each_phrase_has_its_own_tokens(tmp_path: Path) -> None:
    task = loaded("objects", save("grounding_dino", tmp_path / "dino"), classes="red car,cat")
    assert isinstance(task, Objects)
    assert isinstance(task.detector, Grounded)
    assert task.detector.of.tolist() == [  # <s> cat . red car . </s>: the classes are sorted
        [False, True, False, False, False, False, False],
        [False, False, False, True, True, False, False],
    ]


def test_words_of_any_script_and_too_many(tmp_path: Path, data: Path) -> None:
    folder = save("grounding_dino", tmp_path / "dino")
    task = loaded("objects", folder, classes="красная машина,赤い車,سيارة حمراء,🚗", min_score=0.01)
    assert set(task(photos(data, 5))["label"].to_pylist()) <= {"красная машина", "赤い車", "سيارة حمراء", "🚗"}
    with pytest.raises(TaskError, match="40 classes are more than this model reads at once"):
        loaded("objects", folder, classes=",".join(f"cat of dog {i}" for i in range(40)))


@pytest.mark.parametrize(
    ("kind", "classes", "text"),
    [
        ("grounding_dino", {"Red car": None, "red car": None}, "no difference between capital and small letters"),
        ("grounding_dino", {"a.b": None}, "takes phrases of words, without full stops"),
        ("grounding_dino", {"…": None, " ": None}, "takes phrases of words"),
        ("owlv2", {"cat dog tree kite person " * 4: None}, "this model reads 16 tokens of each at most"),
    ],
)
def test_words_that_it_cannot_tell(kind: str, classes: dict[str, None], text: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=text):
        loaded("objects", save(kind, tmp_path / kind), classes=classes)


def test_letters_that_grow_as_they_become_small_move_no_phrase(tmp_path: Path) -> None:
    folder = save("grounding_dino", tmp_path / "dino")
    task = loaded("objects", folder, classes="İİİ dog,Ł kite,cat")
    assert isinstance(task, Objects)
    assert isinstance(task.detector, Grounded)
    tokens = task.detector.text["input_ids"][0].tolist()
    named = [[token for token, of in zip(tokens, mask, strict=True) if of] for mask in task.detector.of.tolist()]
    known = task.detector.network.processor.tokenizer.get_vocab()
    last = [next(name for name in ("cat", "kite", "dog") if name in label) for label in task.classes]
    assert [each[-1] for each in named] == [known[name] for name in last]


def test_a_network_of_nan_is_said(tmp_path: Path, data: Path) -> None:
    task = loaded("objects", save("d_fine", tmp_path / "d"), min_score=LEAST)
    assert isinstance(task, Objects)
    for value in task.detector.network.network.model.decoder.parameters():  # type: ignore[attr-defined]
        value.fill_(float("nan"))
    with pytest.raises(TaskError, match="the network gives NaN"):
        task(photos(data, 5))


def test_words_are_needed(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="looks for what words name: give `classes`"):
        loaded("objects", save("owlv2", tmp_path / "owlv2"))


def test_the_contract_of_a_task(tmp_path: Path, data: Path) -> None:
    """Photos that are larger than the network sees among them: boxes are in full-size pixels."""
    large = picture(photos(data, 5)[0]).resize((1900, 1400))
    import numpy as np

    images = [*photos(data, 5), Image("large", np.asarray(large), 1.0, large.size)]
    check_task(Objects, model=f"hf:{save('d_fine', tmp_path / 'd_fine')}", options={"min_score": LEAST}, images=images)
