import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.tasks.models import encoders
from muster.tasks.models.encoders import PIECES, RATE, Encoder, Plan, Verifier

PLANS = {
    "picture": Plan("picture", (24, 40), (4, 8), (2, 3), dimensions=8),
    "sound": Plan("sound", (RATE // 4,), (8, 8), (2,), dimensions=8),
    "text": Plan("text", (12,), (6, 8), (1,), dimensions=8, buckets=64),
    "volume": Plan("volume", (12, 12, 12), (4, 6), (2, 2, 2), dimensions=8),
}
SHAPES = {"picture": (1, 24, 40), "sound": (2000,), "text": (12, PIECES), "volume": (1, 12, 12, 12)}


def items(kind: str, count: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    if kind == "text":
        return torch.randint(0, 64, (count, *SHAPES[kind]), generator=random)
    return torch.rand(count, *SHAPES[kind], generator=random)


@pytest.mark.parametrize(
    ("shape", "channels", "first", "second"),
    [
        ((14, 14), 3, (10, 10), (6, 6)),
        ((14,), 1, (10,), (6,)),
        ((14, 14, 14), 1, (10, 10, 10), (6, 6, 6)),
    ],
)
def test_shapes_are_those_of_the_lecture(
    shape: tuple[int, ...], channels: int, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    """14×14×3 * 5×5×3 ×16 → 10×10×16 → 6×6×32; 14×1 * 5 → 10×16 → 6×32; 14×14×14×1 * 5×5×5×1 → 10×10×10×16 → …"""
    axes = len(shape)
    one, two = encoders.convolution(axes, channels, 16, 5), encoders.convolution(axes, 16, 32, 5)
    assert [tuple(p.shape) for p in one.parameters()] == [(16, channels, *[5] * axes)]
    maps = one(torch.zeros(1, channels, *shape))
    assert maps.shape == (1, 16, *first)
    assert two(maps).shape == (1, 32, *second)


@pytest.mark.parametrize("kind", PLANS)
def test_embeddings_are_of_length_1(kind: str) -> None:
    network = Encoder(PLANS[kind]).eval()
    found = network(items(kind, 3)).detach()
    assert (found.shape, found.dtype) == ((3, 8), torch.float32)
    assert torch.allclose(found.norm(dim=1), torch.ones(3))
    assert not torch.allclose(found[0], found[1])
    assert torch.allclose(network(items(kind, 3)[1:2]), found[1:2], atol=1e-5)  # whatever lies beside it


@pytest.mark.parametrize("kind", PLANS)
def test_weights_are_read_back(kind: str) -> None:
    head, classes = encoders.fresh_head(8), torch.randn(3, 8)
    network = Verifier(PLANS[kind], head, classes).eval()
    again = encoders.from_state(network.state_dict(), PLANS[kind]).eval()
    assert again.encoder(items(kind, 2)).equal(network.encoder(items(kind, 2)))
    assert (again.head.tolist(), again.classes.tolist()) == (head.tolist(), classes.tolist())  # type: ignore[union-attr]
    assert encoders.from_state(Verifier(PLANS[kind]).state_dict(), PLANS[kind]).head is None


def test_a_head_says_what_differences_are_worth() -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert encoders.similarity(one, other, None).tolist() == [1.0, 0.0]
    assert encoders.similarity(one, other, torch.tensor([-2.0, -3.0, 0.5])).tolist() == [0.5, -4.5]


def test_gradients_of_volumes_are_those_of_float32() -> None:
    """As the loop trains it where bfloat16 is fast: see Encoder.forward."""
    network = Encoder(PLANS["volume"])
    found = []
    for fast in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            embedded = network(items("volume", 4))
        (embedded * torch.linspace(-1, 1, 8)).sum().backward()
        found.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))


# ---- sound -----------------------------------------------------------------------------------------------------------


def test_a_tone_is_in_the_bands_of_its_pitch() -> None:
    time = torch.arange(RATE) / RATE
    tones = torch.stack([(2 * torch.pi * pitch * time).sin() for pitch in (200, 1000, 3000)])
    loudest = encoders.LogMel()(tones).mean(2).argmax(1)
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + f / 700) for f in (60, 4000)), 42) / 2595) - 1)
    for band, pitch in zip(loudest.tolist(), (200, 1000, 3000), strict=True):
        assert edges[band] - 32 <= pitch <= edges[band + 2] + 32  # 31 Hz lie between two values of the spectrum
    assert encoders.LogMel()(tones).shape == (3, encoders.MELS, 101)


@given(st.sampled_from([4000, 8000, 11025, 16000, 44100]), st.integers(1, 3), st.floats(0.01, 1))
@settings(deadline=None, max_examples=20)
def test_sound_of_any_rate_is_the_same_sound(rate: int, channels: int, loud: float) -> None:
    plan = Plan("sound", (RATE,), (8,), (1,))
    time = np.arange(rate) / rate
    tone = (loud * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    found = encoders.wave(np.stack([tone] * channels, 1), rate, plan)
    assert (found.dtype, found.shape) == (np.int16, (RATE,))
    spectrum = np.abs(np.fft.rfft(found))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert abs(np.abs(found).max()) == 32767


@pytest.mark.parametrize("length", [1, 799, 8000, 8001, 20000])
def test_short_sounds_are_in_the_middle_and_long_ones_cut_there(length: int) -> None:
    sound = np.zeros(length, np.float32)
    sound[length // 2] = 0.5
    found = encoders.wave(sound, RATE, Plan("sound", (RATE,), (8,), (1,)))
    assert found.shape == (RATE,)
    assert abs(int(found.argmax()) - 4000) <= 1


@pytest.mark.parametrize("samples", [np.zeros(100, np.float32), np.zeros((0, 2), np.float32)])
def test_silence_is_no_sound(samples: np.ndarray) -> None:
    with pytest.raises(TaskError, match="no sound in it"):
        encoders.wave(samples, RATE, PLANS["sound"])


# ---- texts -----------------------------------------------------------------------------------------------------------


@given(st.text())
def test_any_text_has_pieces(text: str) -> None:
    found = encoders.pieces(text, PLANS["text"])
    assert (found.shape, found.dtype) == ((12, PIECES), np.int64)
    assert ((found >= 0) & (found < 64)).all()
    assert found.any() == bool(text.strip())


def test_words_of_one_root_share_pieces() -> None:
    plan = Plan("text", (4,), (8,), (1,))
    walk, walked, fish = (set(encoders.pieces(word, plan)[0].tolist()) - {0} for word in ("walk", "Walked", "fish"))
    assert len(walk & walked) >= 4
    assert not walk & fish


@pytest.mark.parametrize("text", ["a", "?", "long " * 2000, "x" * 10_000])
def test_texts_of_one_letter_and_of_ten_thousand(text: str) -> None:
    pieces = torch.from_numpy(encoders.pieces(text, PLANS["text"]))[None]
    found = Encoder(PLANS["text"]).eval()(pieces).detach()
    assert torch.isfinite(found).all()
    assert float(found.norm()) == pytest.approx(1, abs=1e-5)


# ---- pictures and volumes --------------------------------------------------------------------------------------------


def test_ink_keeps_its_aspect_in_the_middle() -> None:
    page = np.full((40, 20, 3), 255, np.uint8)
    page[:, 8:12] = 0
    found = encoders.ink(page, Plan("picture", (20, 50), (8,), (1,)))
    assert found.shape == (20, 50)
    assert (found[:, 24:26].min(), found[:, :20].max(), found[:, 30:].max()) == (255, 0, 0)


@pytest.mark.parametrize("shape", [(28, 28, 28), (1, 1, 1), (64, 64, 64), (5, 40, 28)])
def test_volumes_of_other_sizes_are_fitted(shape: tuple[int, int, int]) -> None:
    plan = Plan("volume", (28, 28, 28), (8,), (1, 1, 1))
    found = encoders.cube(np.full(shape, 200, np.uint8), plan)
    assert (found.shape, found.dtype, found.min(), found.max()) == (plan.space, np.uint8, 200, 200)


@pytest.mark.parametrize(
    ("name", "shape"), [("cohort", (10, 7)), ("cohort", (1, 8)), ("head", (8,)), ("classes", (3, 5))]
)
def test_weights_of_other_shapes(name: str, shape: tuple[int, ...]) -> None:
    plan = PLANS["sound"]
    state = Verifier(plan).state_dict() | {name: torch.zeros(shape)}
    with pytest.raises(RuntimeError, match=f"{name} of shape .* is none of embeddings of 8 numbers"):
        encoders.from_state(state, plan)
