import torch
from torch import nn

from muster.tasks.models.ascent import Shown, ascended, picture

SIZE = (24, 32)
SHOWN = Shown(2 * torch.eye(3).flip(0), torch.tensor([-1.0, -1.0, -1.0]))  # blue first, -1..1


def edges() -> nn.Conv2d:
    """Unit 0 looks for red on the left of what is not, unit 1 for blue."""
    layer = nn.Conv2d(3, 2, 3, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 2] = torch.tensor([1.0, 0.0, -1.0])
        layer.weight[1, 0] = 1.0
    return layer


def test_colours_are_shown_as_the_network_takes_them() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert SHOWN(red)[0, :, 0, 0].tolist() == [-1.0, -1.0, 1.0]


def test_each_picture_excites_its_own_unit() -> None:
    """At one place, by what is there: red beside no red, and blue."""
    layer = edges()
    found = ascended(layer, torch.tensor([0, 1]), (11, 15), SIZE, SHOWN, steps=60)
    assert found.shape == (2, 3, *SIZE)
    assert ((found >= 0) & (found <= 1)).all()
    values = layer(SHOWN(found))[:, :, 11, 15]
    assert values[0, 0] > values[1, 0] + 0.5
    assert values[1, 1] > values[0, 1] + 2
    red, blue = found[0, 0, 11:14, 15:18].mean(0), found[1, 2, 11:14, 15:18]
    assert red[0] > red[2] + 0.2
    assert blue.mean() > 0.7
    again = ascended(layer, torch.tensor([0, 1]), (11, 15), SIZE, SHOWN, steps=60)
    assert torch.equal(found, again)


def test_what_has_no_places_is_excited_as_a_whole() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4, bias=False))
    [found] = ascended(layer, torch.tensor([2]), (0, 0), SIZE, SHOWN, steps=60)
    grey = torch.full((1, 3, *SIZE), 0.5)
    assert layer(SHOWN(found[None]))[0, 2] > layer(SHOWN(grey))[0, 2] + 0.1


def test_no_waves_are_grey() -> None:
    for height, width in ((8, 8), (7, 9), (1, 5)):
        assert torch.equal(
            picture(torch.zeros(1, 3, height, width // 2 + 1, 2), (height, width)),
            torch.full((1, 3, height, width), 0.5),
        )
