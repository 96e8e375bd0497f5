import torch

from muster.training.detectors.backbone import Boxes
from muster.training.detectors.ssd import SingleShot


def test_it_learns_one_picture_by_heart() -> None:
    """Two things in one picture, for a few steps: it then finds these."""
    torch.manual_seed(0)
    network = SingleShot(3)
    image = torch.full((3, 128, 128), -0.8)
    image[:, 20:60, 10:40] = 0.6
    image[0, 70:100, 60:100] = 1.0
    truth = [Boxes(boxes=torch.tensor([[10.0, 20, 40, 60], [60, 70, 100, 100]]), labels=torch.tensor([1, 3]))] * 2
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(40):
        loss = sum(network([image, image.flip(0)], truth).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        [found] = network.eval()([image])
    assert sorted(found["labels"][:2].tolist()) == [1, 3]
    order = found["labels"][:2].argsort()
    torch.testing.assert_close(found["boxes"][:2][order], truth[0]["boxes"], rtol=0, atol=6)


def test_a_picture_with_nothing_in_it() -> None:
    nothing = Boxes(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    parts = SingleShot(3)([torch.zeros(3, 128, 128)] * 2, [nothing] * 2)
    assert all(part.isfinite() for part in parts.values())
