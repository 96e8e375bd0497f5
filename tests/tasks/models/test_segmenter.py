import torch

from muster.tasks.models.fuse import for_inference
from muster.tasks.models.segmenter import Segmenter, from_state

WIDTHS = (8, 16, 24, 32, 40)


def network() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(3, WIDTHS).eval()


def test_shapes() -> None:
    assert network()(torch.zeros(2, 3, 64, 96)).shape == (2, 3, 64, 96)


def test_the_state_says_what_the_network_is() -> None:
    original = network()
    again = from_state(
        {name: value.half() for name, value in original.state_dict().items() if "num_batches" not in name}
    )
    images = torch.rand(1, 3, 32, 64)
    assert again.eval()(images).shape == (1, 3, 32, 64)
    torch.testing.assert_close(again(images), original(images), atol=0.02, rtol=0.02)


def test_fused_it_computes_the_same() -> None:
    original = network()
    images = torch.rand(2, 3, 64, 32).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        fused = for_inference(original, torch.device("cpu"), torch.float32)(images)
        torch.testing.assert_close(fused, original(images), atol=1e-4, rtol=1e-4)
