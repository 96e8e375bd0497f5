from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.precision import DTYPES
from muster.tasks.faces import embed
from muster.tasks.models import mobilefacenet
from muster.tasks.models.fuse import for_inference

pytestmark = pytest.mark.precision


@pytest.mark.parametrize("dtype", DTYPES)
def test_embeddings_equal_the_canonical_ones(data: Path, dtype: torch.dtype) -> None:
    canonical = np.load(data.parent / "reference" / "canonical_faces.npz")
    state = torch.load(data / "weights/mobilefacenet.pt", map_location="cpu", weights_only=True)
    network = for_inference(mobilefacenet.from_published(state), torch.device("cpu"), dtype)
    with torch.inference_mode():
        vectors = embed(network, torch.from_numpy(canonical["crop"]), dtype, mirror=True).embeddings.numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * canonical["embedding"]).sum(1).min() > (0.99999 if dtype == torch.float32 else 0.999)


def test_shape_without_weights() -> None:
    with torch.inference_mode():
        assert mobilefacenet.MobileFaceNet().eval()(torch.zeros(2, 3, 112, 112)).shape == (2, 128)
