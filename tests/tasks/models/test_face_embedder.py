import pytest
import torch

from muster.pipeline.work.weights import load_weights
from muster.tasks.faces import embed
from muster.tasks.geometry.align import align
from muster.tasks.models import face_embedder, zoo
from muster.tasks.models.fuse import for_inference
from muster.training.loop import half

CPU = torch.device("cpu")
ENTRY = zoo.ENTRIES["muster-embedder"]
CANONICAL = torch.tensor([0.0801, -0.2021, 0.0984, -0.0996, -0.0199, 0.0027, 0.0654, 0.0948])


def test_shape_and_window() -> None:
    network = face_embedder.FaceEmbedder().eval()
    crops = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    other = crops.clone()
    other[:, :, :16] = 9  # what lies outside the window changes nothing
    other[:, :, :, :8] = 9
    other[:, :, :, 104:] = 9
    with torch.inference_mode():
        assert network(crops).shape == (2, face_embedder.DIMENSIONS)
        assert torch.equal(network(crops), network(other))
        assert network.maps(crops).shape == (2, 256, 6, 6)


def test_half_precision_weights_give_the_same_network() -> None:
    network = face_embedder.FaceEmbedder().eval()
    back = face_embedder.from_state(half(network.state_dict())).eval()
    crops = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(back(crops), network(crops), atol=2e-3, rtol=2e-2)
        fused = for_inference(network, torch.device("cpu"), torch.float32)
        torch.testing.assert_close(fused(crops), network(crops), atol=1e-4, rtol=1e-4)
    assert sum(value.nbytes for value in half(network.state_dict()).values()) <= 8 << 20


def test_canonical_embedding() -> None:
    """Eileen Collins, in skimage's astronaut.png, by the weights that are shipped."""
    from skimage import data as pictures

    landmarks = torch.tensor([[[201.5, 105.1], [245.2, 104.6], [222.6, 128.4], [203.7, 145.5], [241.5, 145.2]]])
    network = for_inference(ENTRY.build(load_weights(ENTRY, None)), CPU, torch.float32)
    with torch.inference_mode():
        [vector] = embed(network, align([pictures.astronaut()], landmarks), torch.float32, ENTRY.mirror).embeddings
    torch.testing.assert_close(vector[:8], CANONICAL, atol=0.005, rtol=0)
    assert vector.norm().item() == pytest.approx(1, abs=1e-5)
