import torch

from tasks.models import face_embedder
from tasks.models.fuse import for_inference
from training.loop import half


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
