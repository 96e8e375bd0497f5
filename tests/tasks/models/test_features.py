import torch

from muster.tasks.models.features import CATEGORIES, RESIZED, SIDE, WIDTH, Features


def test_shapes() -> None:
    network = Features().eval()
    with torch.inference_mode():
        middle, end = network.maps(torch.zeros(2, 3, SIDE, SIDE))
        assert middle.shape == (2, 192, SIDE // 16, SIDE // 16)
        assert end.shape == (2, WIDTH, SIDE // 32, SIDE // 32)
        assert network(torch.zeros(1, 3, 224, 192)).shape == (1, CATEGORIES)
    assert RESIZED >= SIDE


def test_it_fits_into_a_package() -> None:
    """8 MiB in half precision."""
    assert 2 * sum(parameter.numel() for parameter in Features().parameters()) <= 8 << 20
