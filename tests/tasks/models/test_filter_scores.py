"""The scores of the filters, and the rule of benchmarks/filters.py that chose them; it is not run here."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.filters import CLASSES, LEAST, MOST, STEPS, Judged, choose, counts, figures, kept_out
from muster.tasks.models import coco_labels, filter_scores, zoo


def test_scores_are_of_known_weights_and_classes() -> None:
    assert zoo.DEFAULTS["objects"] in filter_scores.MEASURED
    for name, scores in filter_scores.MEASURED.items():
        assert len(zoo.ENTRIES[name].sha256) == 64
        assert scores.keys() <= set(CLASSES)
        assert set(scores.values()) <= set(STEPS.tolist())
    assert filter_scores.UNMEASURED.keys() == set(coco_labels.NAMES)
    assert len(set(filter_scores.UNMEASURED.values())) == 1
    assert LEAST < filter_scores.UNMEASURED["dog"] < MOST


def judged(*classes: tuple[int, int, float], photos: int = 400) -> Judged:
    """Of each class: how many finds, how many of them right, and the score of them all; on the first photos."""
    scores, true = np.zeros((photos, len(classes))), np.zeros((photos, len(classes)), bool)
    for column, (finds, right, score) in enumerate(classes):
        scores[:finds, column] = score
        true[:right, column] = True
    return Judged(scores, true, np.zeros(photos, bool), np.linspace(0, 1, photos, endpoint=False))


def test_a_class_is_judged_by_its_finds_and_by_all() -> None:
    often = (300, 270, 0.7)  # of all classes together, about 90 % are right: enough for one without finds
    assert choose(judged(often, (0, 0, 0))).tolist() == [LEAST, LEAST]
    assert choose(judged(often, (9, 2, 0.7)))[1] == np.inf  # more is needed, and nothing is found there
    # Of all finds at 0.8, 78 % are right: too few for a class without. Above 0.7 they are 97 %.
    assert choose(judged((300, 180, 0.8), (300, 290, 0.8), (3, 3, 0.7))).tolist() == [np.inf, LEAST, np.inf]
    assert choose(judged((300, 180, 0.7), (300, 290, 0.8), (0, 0, 0)))[1:].tolist() == [LEAST, 0.71]
    assert choose(judged((0, 0, 0))).tolist() == [np.inf]


def test_no_photo_chooses_for_itself() -> None:
    """What half of the photos say of a class decides nothing for that half."""
    one = judged((400, 200, 0.7))  # the first half right, the other wrong
    shown, right = kept_out(one, 2)
    assert (shown.tolist(), right.tolist()) == ([200], [0])  # the wrong half trusts the right one, and not the reverse
    assert figures(shown, right, one) == {"finds": 200, "precision": 0.0, "recall": 0.0, "classes_of_4": [0, 1]}


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1), st.floats(0.6, 1)), min_size=1, max_size=6),
    st.integers(2, 10),
)
def test_filters_show_less_than_what_is_stored(classes: list[tuple[int, float, float]], parts: int) -> None:
    them = judged(*((finds, round(finds * right), score) for finds, right, score in classes), photos=40)
    stored, shown, right = counts(them, np.full(len(classes), LEAST))[0], *kept_out(them, parts)
    assert ((right <= shown) & (shown <= stored)).all()
    least = choose(them)
    assert ((least == np.inf) | ((least >= LEAST) & (least <= MOST))).all()
    finds, good = counts(them, least)
    alone = finds >= 30  # then a class's own finds outweigh the prior
    assert (good[alone] >= 0.75 * finds[alone]).all()
