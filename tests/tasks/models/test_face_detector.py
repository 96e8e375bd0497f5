from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.utils.flop_counter import FlopCounterMode

from muster.tasks.faces import FaceParameters, detect
from muster.tasks.models import face_detector, yunet
from muster.tasks.models.fuse import for_inference

WEIGHTS = Path(face_detector.__file__).parents[1] / "weights/muster-detector.safetensors"
CPU = torch.device("cpu")


def shapes(network: torch.nn.Module, height: int, width: int) -> list[tuple[int, ...]]:
    with torch.inference_mode():
        return [tuple(output.shape) for output in network.eval()(torch.zeros(2, 3, height, width))]


def multiplications(network: torch.nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, 3, 192, 192))
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32), (192, 160)])
def test_outputs_are_those_of_yunet(height: int, width: int) -> None:
    assert shapes(face_detector.FaceDetector(), height, width) == shapes(yunet.YuNet(), height, width)


def test_fewer_multiplications_than_yunet() -> None:
    assert multiplications(face_detector.FaceDetector()) < multiplications(yunet.YuNet())


def test_half_precision_weights_give_the_same_network() -> None:
    network = face_detector.FaceDetector().eval()
    state = {k: v.half() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    again = face_detector.from_state(state).eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for mine, other in zip(network(images), again(images), strict=True):
            torch.testing.assert_close(mine, other, atol=2e-2, rtol=1e-2)
    assert all(value.dtype == torch.float32 for value in again.parameters())


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        face_detector.from_state({"stem.0.0.weight": torch.zeros(8, 3, 3, 3)})


def test_ready_for_inference_it_gives_the_same() -> None:
    torch.manual_seed(0)
    network = face_detector.FaceDetector().eval()
    images = torch.rand(2, 3, 64, 96) * 255
    with torch.inference_mode():
        for mine, fused in zip(network(images), for_inference(network, CPU, torch.float32)(images), strict=True):
            torch.testing.assert_close(mine, fused, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_weights_of_the_project_find_a_face(scale: int) -> None:
    pictures = pytest.importorskip("skimage.data")
    photo = pictures.astronaut()[::scale, ::scale].copy()  # the face is at about x 225, y 115, 90 pixels wide
    network = for_inference(face_detector.from_state(safetensors.torch.load_file(WEIGHTS)), CPU, torch.float32)
    with torch.inference_mode():
        found = detect(network, [photo], FaceParameters(), CPU, torch.float32)[0]
    assert len(found.scores) == 1
    x0, y0, x1, y1 = (found.boxes[0] * scale).tolist()
    assert x0 < 200 < 245 < x1 < 300
    assert y0 < 90 < 140 < y1 < 220
    right_eye, left_eye, nose, right_mouth, left_mouth = found.landmarks[0]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_the_weights_of_the_project_are_small_and_in_half_precision() -> None:
    assert WEIGHTS.stat().st_size < 8 << 20
    assert {value.dtype for value in safetensors.torch.load_file(WEIGHTS).values()} == {torch.float16}
