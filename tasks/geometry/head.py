"""The head that landmarks are views of, and from it where a face looks.

`FIVE` and `SHAPE` are made by benchmarks/make_head.py from 10,562 faces of LFW: structure from motion of the landmarks
of yunet-n, and of the 68 of landmarks68. x to the right, y down, z to the viewer, in pixels of a crop on the template.
"""

from typing import NamedTuple

import torch

# fmt: off
FIVE = torch.tensor(  # eyes, nose, mouth corners
    [
        (36.9, 52.8, -1.4), (75.2, 52.8, -1.4), (56.0, 74.2, 11.3), (39.3, 89.8, -4.2), (72.7, 89.8, -4.2),
    ]
)
SHAPE = torch.tensor(  # jaw 17, brows 5 and 5, nose 9, eyes 6 and 6, mouth 20
    [
        (11.8, 52.9, -15.2), (12.6, 64.2, -15.0), (14.4, 74.9, -15.3), (16.6, 84.5, -15.8), (20.6, 95.1, -15.5),
        (26.6, 103.5, -13.6), (33.8, 109.4, -10.4), (42.8, 115.3, -6.5), (56.0, 118.6, -5.3), (69.3, 115.3, -6.5),
        (78.3, 109.4, -10.4), (85.4, 103.5, -13.6), (91.5, 95.1, -15.5), (95.5, 84.5, -15.8), (97.6, 74.9, -15.3),
        (99.5, 64.2, -15.0), (100.2, 52.9, -15.2), (21.8, 43.5, -3.1), (26.9, 40.4, 0.0), (33.9, 39.1, 2.1),
        (40.0, 39.7, 3.2), (45.8, 41.6, 3.8), (66.3, 41.6, 3.8), (72.0, 39.7, 3.2), (78.1, 39.1, 2.1),
        (85.2, 40.4, 0.0), (90.3, 43.5, -3.1), (56.0, 52.9, 3.7), (56.0, 60.1, 5.7), (56.0, 66.8, 7.8),
        (56.0, 73.3, 8.3), (48.6, 77.3, 2.3), (52.0, 78.3, 3.4), (56.0, 79.2, 3.8), (60.0, 78.3, 3.4),
        (63.5, 77.3, 2.3), (30.7, 52.1, -2.2), (34.5, 50.2, -0.4), (40.2, 50.1, -0.4), (44.9, 52.7, -0.7),
        (40.4, 54.1, -0.5), (34.8, 54.0, -1.1), (67.1, 52.7, -0.7), (71.9, 50.1, -0.4), (77.5, 50.2, -0.4),
        (81.3, 52.1, -2.2), (77.3, 54.0, -1.1), (71.6, 54.1, -0.5), (40.0, 90.9, -3.2), (45.6, 88.0, 0.6),
        (52.4, 86.1, 2.8), (56.0, 86.9, 2.8), (59.7, 86.1, 2.8), (66.5, 88.0, 0.6), (72.0, 90.9, -3.2),
        (66.2, 95.8, -0.9), (61.2, 98.3, 0.3), (56.0, 98.8, 0.6), (50.9, 98.3, 0.3), (45.8, 95.8, -0.9),
        (41.4, 90.8, -3.1), (51.2, 89.8, 1.2), (56.0, 89.8, 1.7), (60.8, 89.8, 1.2), (70.6, 90.8, -3.1),
        (60.8, 93.2, 0.4), (56.0, 93.6, 0.8), (51.3, 93.2, 0.4),
    ]
)
# fmt: on
_LEAST_RATIO = 0.3  # of how much a camera shrinks the head one way and the other; of LFW's faces it is above 0.7


class Cameras(NamedTuple):
    """Views of the head: a point of it is seen at `affine` · point + `shift`, in pixels of a picture.

    `affine`: (N, 2, 3). `shift`: (N, 2). `rotation`: (N, 3, 3), of the nearest camera that neither stretches nor skews:
    its rows are where right, down and the viewer are, seen from the head. `known`: (N,), whether the landmarks may be
    those of a face that is seen from in front; of others the rest says nothing.
    """

    affine: torch.Tensor
    shift: torch.Tensor
    rotation: torch.Tensor
    known: torch.Tensor


def cameras(landmarks: torch.Tensor, shape: torch.Tensor = FIVE) -> Cameras:
    """Those under which `shape` (K, 3) comes nearest to these landmarks (N, K, 2; in pixels), by least squares."""
    finite = landmarks.isfinite().all(2).all(1)
    landmarks, shape = landmarks.nan_to_num(0, 0, 0).double(), shape.double()
    middle, centre = landmarks.mean(1), shape.mean(0)
    affine = (landmarks - middle[:, None]).mT @ torch.linalg.pinv(shape - centre).T
    left, sizes, right = torch.linalg.svd(affine, full_matrices=False)
    across, down = (left @ right).unbind(1)
    rotation = torch.stack([across, down, torch.linalg.cross(across, down)], 1)
    known = finite & (sizes[:, 1] > _LEAST_RATIO * sizes[:, 0]) & (rotation[:, 2, 2] > 0)
    return Cameras(affine.float(), (middle - affine @ centre).float(), rotation.float(), known)


def pose(landmarks: torch.Tensor) -> torch.Tensor:
    """Yaw, pitch and roll, in degrees, of faces with these landmarks (N, 5, 2): (N, 3) float32; NaN where unknown.

    Yaw is positive where the face looks to the right of the picture, pitch where it looks up, both -90 to 90; roll
    where the picture has to be turned counterclockwise to set the face upright, -180 to 180. In this order: first the
    head nods, then it turns, then the picture does. 0 of the pitch is the mean of LFW's faces.
    """
    found = cameras(landmarks)
    across, down, viewer = found.rotation.unbind(1)
    angles = [
        (-viewer[:, 0]).clamp(-1, 1).asin(),
        torch.atan2(viewer[:, 1], viewer[:, 2]),
        torch.atan2(down[:, 0], across[:, 0]),
    ]
    return torch.where(found.known[:, None], torch.stack(angles, 1).rad2deg(), torch.nan)
