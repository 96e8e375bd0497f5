import torch

from muster.training.detectors.backbone import COARSE, FINE, WIDTHS, Backbone


def test_maps_have_the_strides_that_they_are_called_by() -> None:
    maps = Backbone()(torch.zeros(2, 3, 128, 96))
    assert {name: tuple(each.shape) for name, each in maps.items()} == {
        FINE: (2, WIDTHS[2], 16, 12),
        COARSE: (2, WIDTHS[3], 8, 6),
    }
    assert list(Backbone(coarse=False)(torch.zeros(1, 3, 64, 64))) == [FINE]


def test_without_padding_a_cell_sees_39_pixels() -> None:
    torch.manual_seed(0)
    network = Backbone(coarse=False, padding=0).eval()
    picture = torch.rand(1, 3, 39, 39)
    assert network(picture)[FINE].shape[2:] == (1, 1)
    wider = torch.rand(1, 3, 55, 47)
    wider[..., 8:47, 8:47] = picture
    found = network(wider)[FINE]
    assert found.shape[2:] == (3, 2)
    torch.testing.assert_close(found[..., 1:2, 1:2], network(picture)[FINE], rtol=0, atol=1e-5)
