from pathlib import Path

import numpy as np
import pytest
import torch

from muster.tasks.models import yunet


def test_it_equals_the_published_onnx_model(data: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(data / "weights/yunet_n_dynamic.onnx"))
    state = torch.load(data / "weights/yunet_n.pth", map_location="cpu", weights_only=True)
    network = yunet.from_published(state).eval()
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 96, 160)).astype(np.float32)
    theirs = session.run(None, {"input": image})
    with torch.inference_mode():
        ours = network(torch.from_numpy(image))
    for level, output in enumerate(ours):
        cells = output[0].flatten(1).T.numpy()  # (cells, 16)
        score = 1 / (1 + np.exp(-cells[:, :2]))
        for part, mine in enumerate((score[:, :1], score[:, 1:], cells[:, 2:6], cells[:, 6:])):
            np.testing.assert_allclose(mine, theirs[level + 3 * part][0], atol=2e-5)


def test_shapes_without_weights() -> None:
    with torch.inference_mode():
        outputs = yunet.YuNet().eval()(torch.zeros(2, 3, 64, 96))
    assert [tuple(o.shape) for o in outputs] == [(2, 16, 8, 12), (2, 16, 4, 6), (2, 16, 2, 3)]
