import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.tasks.metrics import retrieval
from muster.tasks.metrics.retrieval import ranks


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    made = random.normal(size=shape).astype(np.float32)
    return made / np.linalg.norm(made, axis=-1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=9), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_ranks_are_places_in_an_order_of_cosines(captions: list[int], seed: int, block: int) -> None:
    random = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(captions)), captions)
    texts, photos = unit(random, len(of), 8), unit(random, len(captions), 8)
    retrieval.BLOCK = block
    try:
        of_texts, of_photos = ranks(texts, photos, of)
    finally:
        retrieval.BLOCK = 1000
    near = texts.astype(np.float64) @ photos.T.astype(np.float64)
    for text, photo in enumerate(of):
        assert of_texts[text] == 1 + np.argsort(-near[text]).tolist().index(photo)
    for photo in range(len(photos)):
        order = np.argsort(-near[:, photo])
        assert of_photos[photo] == 1 + min(place for place, text in enumerate(order) if of[text] == photo)


def test_a_network_that_says_the_same_of_everything_finds_nothing() -> None:
    same = np.tile(unit(np.random.default_rng(0), 8), (6, 1))
    of_texts, of_photos = ranks(same, same[:3], np.array([0, 0, 1, 1, 2, 2]))
    assert of_texts.tolist() == [3] * 6
    assert of_photos.tolist() == [5] * 3
