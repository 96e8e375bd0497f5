import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from muster.errors import TaskError
from muster.pipeline.work.weights import load_weights
from muster.tasks.geometry.align import TEMPLATE
from muster.tasks.models import landmarks68, zoo
from muster.tasks.models.landmarks68 import MIRROR, POINTS, find68


def same_padded(x: torch.Tensor, weight: torch.Tensor, stride: int, groups: int = 1) -> torch.Tensor:
    """A convolution with TensorFlow's "SAME": ⌈side / stride⌉ rows, the larger half of the padding behind."""
    for side in (3, 2):  # width, then height
        size, kernel = x.shape[side], weight.shape[side]
        whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before = whole // 2
        x = F.pad(x, (before, whole - before) if side == 3 else (0, 0, before, whole - before))
    return F.conv2d(x, weight, stride=stride, groups=groups)


def plain(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network in the words of face-api.js, from its own names and layouts."""

    def separable(x: torch.Tensor, layer: str, stride: int) -> torch.Tensor:
        depthwise = state[f"{layer}/depthwise_filter"].permute(2, 3, 0, 1)
        x = same_padded(x, depthwise, stride, groups=len(depthwise))
        return F.conv2d(x, state[f"{layer}/pointwise_filter"].permute(3, 2, 0, 1), state[f"{layer}/bias"])

    for block in ("dense0", "dense1", "dense2", "dense3"):
        if block == "dense0":
            bias = state["dense0/conv0/bias"][:, None, None]
            out1 = (same_padded(x, state["dense0/conv0/filters"].permute(3, 2, 0, 1), 2) + bias).relu()
        else:
            out1 = separable(x, f"{block}/conv0", 2).relu()
        out2 = separable(out1, f"{block}/conv1", 1)
        out3 = separable((out1 + out2).relu(), f"{block}/conv2", 1)
        out4 = separable((out1 + out2 + out3).relu(), f"{block}/conv3", 1)
        x = (out1 + out2 + out3 + out4).relu()
    return (F.avg_pool2d(x, 7).flatten(1) @ state["fc/weights"] + state["fc/bias"]).view(-1, POINTS, 2)


def test_it_is_the_published_network(weights: Path) -> None:
    state = dict(load_weights(zoo.ENTRIES["landmarks68"], weights))
    crops = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.inference_mode():
        found = landmarks68.from_published(state).eval()(crops)
        torch.testing.assert_close(found, plain(state, crops), rtol=0, atol=1e-5)


def test_landmarks_are_where_they_are(data: Path, weights: Path) -> None:
    """On the faces whose five landmarks are known: within a tenth of the distance of the eyes on the average."""
    canonical = np.load(data.parent / "reference" / "canonical_faces.npz")
    table = pq.read_table(data / "lfw/lfw.parquet", columns=["file", "image"])
    files = dict(zip(table["file"].to_pylist(), table["image"].to_pylist(), strict=True))
    names = canonical["names"].tolist()
    images = [np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")) for name in names]
    five = torch.from_numpy(canonical["landmarks"]).float()
    network = landmarks68.from_published(load_weights(zoo.ENTRIES["landmarks68"], weights)).eval()
    with torch.inference_mode():
        found = find68(network, images, five)
    seen = torch.stack([found[:, 36:42].mean(1), found[:, 42:48].mean(1), *found[:, [30, 48, 54]].unbind(1)], 1)
    eyes = (five[:, 1] - five[:, 0]).norm(dim=1)
    assert ((seen - five).norm(dim=2) / eyes[:, None]).mean() < 0.1
    assert (found[:, 8, 1] > found[:, 57, 1]).all()  # chin below mouth, mouth below nose, nose below brows
    assert (found[:, 57, 1] > found[:, 33, 1]).all()
    assert (found[:, 33, 1] > found[:, 19, 1]).all()


def test_a_face_in_the_mirror_has_its_landmarks_in_the_mirror() -> None:
    torch.manual_seed(0)
    network = landmarks68.Landmarks68().eval()
    picture = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    five = TEMPLATE + torch.tensor([3.0, 2.0])
    turned = torch.stack([111 - five[[1, 0, 2, 4, 3], 0], five[[1, 0, 2, 4, 3], 1]], 1)
    with torch.inference_mode():
        here, there = find68(network, [picture, np.ascontiguousarray(picture[:, ::-1])], torch.stack([five, turned]))
    there = torch.stack([111 - there[:, 0], there[:, 1]], 1)[list(MIRROR)]
    torch.testing.assert_close(here, there, rtol=0, atol=1.0)  # TEMPLATE itself is not quite symmetric


def test_bad_landmarks_are_no_error() -> None:
    network = landmarks68.Landmarks68().eval()
    with torch.inference_mode():
        assert find68(network, [], torch.empty(0, 5, 2)).shape == (0, POINTS, 2)
        assert find68(network, [np.zeros((9, 9, 3), np.uint8)], torch.ones(1, 5, 2)).shape == (1, POINTS, 2)


def test_other_weights_are_refused() -> None:
    with pytest.raises(TaskError, match="these are no weights of face_landmark_68"):
        landmarks68.from_published({"fc/weights": torch.zeros(256, 136)})
