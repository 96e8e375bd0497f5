"""68 landmarks of a face: 112×112 crops to points, 357 k parameters.

The network of face-api.js (Vincent Mühler, github.com/justadudewhohacks/face-api.js, MIT), `faceLandmark68Net`: four
blocks in which each convolution sees the sum of those before it. The parameter names are those of its weights. Its
"same" padding is TensorFlow's: of a convolution that halves an even side, one row below and one column to the right.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.base import to_device
from muster.tasks.geometry.align import CROP, TEMPLATE, align, similarity

POINTS = 68
MIRROR = (  # which point each is in the mirror
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
)
_MEAN = (122.782, 117.001, 104.298)  # red, green, blue
_LOOSE = TEMPLATE - torch.tensor([0.0, 32.0])  # the template, moved up so that the chin is inside


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, 0 if stride == 2 else 1, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(inputs, outputs, 3, 2) if first else _separable(inputs, outputs, 2)
        self.conv1 = _separable(outputs, outputs)
        self.conv2 = _separable(outputs, outputs)
        self.conv3 = _separable(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv0(F.pad(x, (0, 1, 0, 1))).relu()
        x = x + self.conv1(x)
        x = x + self.conv2(x.relu())
        x = x + self.conv3(x.relu())
        return x.relu()


class Landmarks68(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense0 = _Block(3, 32, first=True)
        self.dense1 = _Block(32, 64, first=False)
        self.dense2 = _Block(64, 128, first=False)
        self.dense3 = _Block(128, 256, first=False)
        self.fc = nn.Linear(256, 2 * POINTS)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, 3, 112, 112), `normalised` → (N, 68, 2): x and y in parts of the crop's side, from its outer edge.

        Jaw 17, brows 5 and 5, nose 9, eyes 6 and 6, mouth 20, from the left of the picture to its right.
        """
        maps = self.dense3(self.dense2(self.dense1(self.dense0(crops))))
        return self.fc(maps.mean((2, 3))).unflatten(1, (POINTS, 2))


def normalised(crops: torch.Tensor) -> torch.Tensor:
    """Crops (N, 112, 112, 3; RGB 0..255) as the network takes them: (N, 3, 112, 112) float32."""
    return ((crops - torch.tensor(_MEAN, device=crops.device)) / 255).permute(0, 3, 1, 2)


def find68(network: nn.Module, images: Sequence[Pixels], landmarks: torch.Tensor) -> torch.Tensor:
    """The 68 landmarks of the faces with these five (N, 5, 2; in pixels): (N, 68, 2), in pixels too.

    `images`: N of them, uint8 RGB (H, W, 3), the one each face is in. The mean of what the network says of a crop and
    of its mirror image, which are on the average 1.7 pixels of 112 apart (300 faces of LFW).
    """
    weight = next(chain(network.parameters(), network.buffers()))
    crops = normalised(to_device(align(images, landmarks, target=_LOOSE), weight.device)).to(weight.dtype)
    both = (each.contiguous(memory_format=torch.channels_last) for each in (crops, crops.flip(3)))
    upright, turned = (network(each).cpu().float() for each in both)
    turned = torch.stack([1 - turned[..., 0], turned[..., 1]], 2)[:, MIRROR]
    points = (upright + turned) / 2 * CROP - 0.5
    matrix = similarity(landmarks, _LOOSE)
    back, _ = torch.linalg.inv_ex(matrix[:, :, :2])  # of landmarks all in one point there is none
    return (points - matrix[:, None, :, 2]) @ back.mT


def from_published(state: Mapping[str, torch.Tensor]) -> Landmarks68:
    """The network with the published weights, laid out as TensorFlow has them: height, width, in, out."""
    network, renamed = Landmarks68(), {}
    for name, value in state.items():
        layer, _, part = name.rpartition("/")
        layer = layer.replace("/", ".")
        if part == "bias":
            renamed[f"{layer}.bias" if layer in ("fc", "dense0.conv0") else f"{layer}.1.bias"] = value
        elif part == "weights":
            renamed[f"{layer}.weight"] = value.T
        elif part == "filters":
            renamed[f"{layer}.weight"] = value.permute(3, 2, 0, 1)
        elif part == "depthwise_filter":
            renamed[f"{layer}.0.weight"] = value.permute(2, 3, 0, 1)
        elif part == "pointwise_filter":
            renamed[f"{layer}.1.weight"] = value.permute(3, 2, 0, 1)
    try:
        network.load_state_dict(renamed)
    except RuntimeError as error:
        raise TaskError(f"these are no weights of face_landmark_68: {str(error).splitlines()[-1].strip()}") from None
    return network
