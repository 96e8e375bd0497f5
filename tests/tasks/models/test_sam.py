"""tasks/models/sam.py, and the task with it: by small networks of the package with weights drawn at random."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image as PillowImage
from torch import nn

from helpers.runs import config_of
from muster.errors import InputError, TaskError
from muster.pipeline.run import record
from muster.pipeline.work.choice import TaskChoice
from muster.storage import tables
from muster.storage.library import open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.tasks.base import Image
from muster.tasks.geometry import rle
from muster.tasks.masks import Masks
from muster.tasks.models import coco_labels, sam
from muster.tasks.objects import Objects

package = pytest.importorskip("segment_anything", reason="the extra `sam` is not installed")
CPU = torch.device("cpu")
SIDE = 128


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(width: int = 32, depth: int = 3, heads: int = 4, everywhere: tuple[int, ...] = (1,)) -> Any:
    """A small network, put together as build_sam.py of the package does."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=SIDE, patch_size=16, embed_dim=width, depth=depth, num_heads=heads, out_chans=32, use_rel_pos=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), window_size=3, global_attn_indexes=everywhere,
    )  # fmt: skip
    prompts = PromptEncoder(32, (SIDE // 16, SIDE // 16), (SIDE, SIDE), mask_in_chans=8)
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=48, num_heads=sam.HEADS)
    decoder = MaskDecoder(transformer_dim=32, transformer=transformer, iou_head_depth=2, iou_head_hidden_dim=24)
    network = Sam(encoder, prompts, decoder).eval()
    for name, value in network.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:  # which begin as zeros
            nn.init.normal_(value, std=0.1)
    nn.init.constant_(decoder.iou_prediction_head.layers[-1].bias, 0.9)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save(built().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def photo(data: Path) -> Image:
    pixels = np.array(PillowImage.open(data / "coco128/images/000000000025.jpg").convert("RGB"))
    return Image("giraffes", pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


@pytest.fixture(scope="module")
def task(file: Path, weights: Path) -> Any:
    return load(file, weights)


def load(file: Path, weights: Path, **options: Any) -> Any:
    return TaskChoice(name="masks", model="sam", options=options, weights=file).load(CPU, weights)


@pytest.mark.parametrize("shape", [{}, {"width": 48, "heads": 2, "depth": 2}, {"depth": 4, "everywhere": (1, 3)}])
def test_the_architecture_is_read_off_the_weights(shape: dict[str, Any]) -> None:
    network = built(**shape)
    again = sam.from_published(network.state_dict()).eval()
    for mine, its in zip(network.image_encoder.blocks, again.image_encoder.blocks, strict=True):
        assert (mine.window_size, mine.attn.num_heads) == (its.window_size, its.attn.num_heads)
    image = {
        "image": 255 * torch.rand(3, SIDE, 70),
        "original_size": (60, 33),
        "boxes": torch.tensor([[3.0, 9, 50, 90]]),
    }
    [one], [other] = (each([image], multimask_output=False) for each in (network, again))
    for name, value in one.items():
        assert torch.equal(value, other[name])


def test_published_sizes_are_read_off_too() -> None:
    """By shapes alone, without their memory."""
    with torch.device("meta"):
        for name, depth, heads, everywhere in (("vit_b", 12, 12, [2, 5, 8, 11]), ("vit_l", 24, 16, [5, 11, 17, 23])):
            state = package.sam_model_registry[name]().state_dict()
            encoder = sam._encoder(state)
            blocks = encoder.blocks
            assert (len(blocks), encoder.img_size, blocks[0].attn.num_heads) == (depth, 1024, heads)
            assert [i for i, block in enumerate(blocks) if block.window_size == 0] == everywhere
            assert {block.window_size for block in blocks} == {0, 14}
            assert {k: v.shape for k, v in encoder.state_dict().items()} == {
                k.removeprefix("image_encoder."): v.shape for k, v in state.items() if k.startswith("image_encoder.")
            }


@pytest.mark.parametrize("count", [1, 2, sam.BOXES + 3])
@torch.inference_mode()
def test_masks_are_those_of_the_package(photo: Image, count: int) -> None:
    """Its own predictor, box by box."""
    network = built()
    height, width = photo.pixels.shape[:2]
    low, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(count))
    boxes = torch.cat([low / 2, low / 2 + 0.1 + size / 3], 1) * torch.tensor([width, height] * 2)
    predictor = package.SamPredictor(network)
    predictor.set_image(photo.pixels)
    found = list(sam.masks_in(network, photo.pixels, boxes))
    assert len(found) == count
    for box, (mask, overlap) in zip(boxes, found, strict=True):
        masks, overlaps, _ = predictor.predict(box=box.numpy(), multimask_output=False)
        assert mask.shape == (height, width)
        assert (mask != masks[0]).mean() < 1e-3
        assert overlap == pytest.approx(float(np.clip(overlaps[0], 0, 1)), abs=1e-4)


def test_rows_are_of_what_the_detector_finds(task: Masks, photo: Image, weights: Path) -> None:
    detections = TaskChoice(name="objects", options={"min_score": 0.5}).load(CPU, weights)([photo]).to_pylist()
    rows = task([photo]).to_pylist()
    assert task.schema.equals(task([]).schema)
    assert 1 <= len(rows) <= len(detections)
    found = {(row["label"], row["label_id"]) for row in detections}
    for row in rows:
        assert (row["label"], row["label_id"]) in found
        assert coco_labels.NAMES[row["label_id"]] == row["label"]
        mask = {"size": [row["height"], row["width"]], "counts": row["rle"]}
        assert row["area"] == rle.area(mask) > 0
        assert row["box_xyxy"] == pytest.approx(list(rle.box(mask)))
        assert any(0.5 <= row["score"] <= each["score"] <= 1 for each in detections)


def test_classes_and_scores_that_are_asked_for(file: Path, weights: Path, photo: Image) -> None:
    assert set(load(file, weights, classes={"giraffe": 0.1})([photo])["label"].to_pylist()) == {"giraffe"}
    assert load(file, weights, classes={"dog": None})([photo]).num_rows == 0
    assert load(file, weights, min_score=0.999)([photo]).num_rows == 0
    with pytest.raises(TaskError, match="`classes` girafe: no such class of masks=sam; nearest: giraffe"):
        Masks("sam", {"girafe": None})


def test_boxes_are_in_full_size_pixels(task: Masks, photo: Image) -> None:
    """What was decoded at half its size: the same masks, twice the boxes."""
    whole = task([photo]).to_pylist()
    double = task([Image("giraffes", photo.pixels, 0.5, (2 * photo.size[0], 2 * photo.size[1]))]).to_pylist()
    assert [row["rle"] for row in double] == [row["rle"] for row in whole]
    for one, other in zip(whole, double, strict=True):
        np.testing.assert_allclose(other["box_xyxy"], np.array(one["box_xyxy"]) * 2, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000), (30_000, 1), (480, 640)])
def test_black_and_of_any_shape(file: Path, weights: Path, photo: Image, shape: tuple[int, int]) -> None:
    loose = load(file, weights, min_score=0.01)
    black = Image("black", np.zeros((*shape, 3), np.uint8), 1.0, (shape[1], shape[0]))
    rows = loose([black, photo])
    assert rows.equals(pa.concat_tables([loose([black]), loose([photo])]))
    for row in rows.filter(pa.compute.field("image_id") == "black").to_pylist():
        x0, y0, x1, y1 = row["box_xyxy"]
        assert 0 <= x0 < x1 <= shape[1] * 1.001
        assert 0 <= y0 < y1 <= shape[0] * 1.001


def test_what_is_prompted_with_stands_in_the_fingerprint() -> None:
    facts = TaskChoice(name="masks", model="sam").description
    assert facts["parameters"]["prompts"].items() >= {"version": Objects.version, "min_score": 0.65}.items()
    assert facts["weights"].keys() == {"segmenter", "detector"}


def test_weights_that_are_not_of_it(tmp_path: Path, weights: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    state = built().state_dict()
    torch.save({name: value for name, value in state.items() if "final_attn" not in name}, tmp_path / "cut.pth")
    texts = {
        weights
        / "fastestdet_coco80.pth": r"fastestdet_coco80.pth: these are not weights of sam .*: it has no 'image_enc",
        tmp_path
        / "cut.pth": r"cut.pth: these are not weights of sam .*: Missing key\(s\) in state_dict: \"mask_decoder",
    }
    for file, text in texts.items():
        config = config_of("L", "masks", models={"masks": "sam"}, weights={"masks": file}, weights_dir=weights)
        with pytest.raises(InputError, match=text):
            record(library, config)
    assert not tables.descriptions(library).keys() - {IMAGES_FINGERPRINT}


def test_without_the_package(file: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "segment_anything.modeling", None)  # as if it were not installed
    config = config_of("L", "masks", models={"masks": "sam"}, weights={"masks": file}, weights_dir=weights)
    with pytest.raises(InputError, match=r"SAM needs the package segment-anything: pip install segment-anything"):
        record(open_library(tmp_path / "L", create=True), config)
