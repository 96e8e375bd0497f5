import pytest
import torch
from torch import nn

from muster.tasks.models.fuse import for_inference
from muster.tasks.models.mobilefacenet import MobileFaceNet
from muster.tasks.models.yunet import YuNet

pytestmark = pytest.mark.precision

CPU = torch.device("cpu")


def _trained_a_little(network: nn.Module, size: int) -> nn.Module:
    """With batch norm statistics that are not the identity."""
    torch.manual_seed(0)
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size))
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return network.eval()


@pytest.mark.parametrize(("network", "size"), [(MobileFaceNet(), 112), (YuNet(), 64)])
def test_the_numbers_stay(network: nn.Module, size: int) -> None:
    network = _trained_a_little(network, size)
    images = torch.randn(3, 3, size, size)
    with torch.inference_mode():
        before, after = network(images), for_inference(network, CPU, torch.float32)(images)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_no_batch_norm_or_activation_is_left() -> None:
    left = [type(m) for m in for_inference(MobileFaceNet(), CPU, torch.float32).modules()]
    assert nn.BatchNorm2d not in left
    assert nn.ReLU6 not in left


def test_the_network_given_is_not_touched() -> None:
    network = MobileFaceNet()
    for_inference(network, CPU, torch.bfloat16)
    assert network.conv3.weight.dtype == torch.float32
    assert isinstance(network.bn, nn.BatchNorm2d)


def test_a_convolution_used_twice_keeps_its_sum() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.norm(y).relu() + y  # the norm cannot be folded: its input is used again

    network, images = Shared().eval(), torch.randn(2, 3, 16, 16)
    network.norm.running_mean.fill_(0.5)
    with torch.inference_mode():
        torch.testing.assert_close(
            for_inference(network, CPU, torch.float32)(images), network(images), rtol=1e-4, atol=1e-4
        )
