import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.embeddings import arc, nearest, people
from muster.tasks.people.collages import Likeness, held_apart, photo_numbers, same_photo
from muster.tasks.people.graph import GraphParameters, cluster_graph

PICTURE = GraphParameters().picture


def graph(faces, images):
    return cluster_graph(faces, *nearest(faces), images, np.ones(len(faces), np.float32))


def numbers(faces, photos, good=None):
    likeness = Likeness(faces, np.zeros(len(faces), np.float32))
    good = np.ones(len(faces), bool) if good is None else good
    return photo_numbers(likeness, *nearest(faces), photos, good, PICTURE)


def free(faces, photos, good=None):
    """Which faces count as in a photo of their own."""
    return np.flatnonzero(numbers(faces, photos, good) != photos).tolist()


def copies(faces, noise=0.2, seed=0):
    """The same pictures once more, mirrored or smaller: cosines of about .96 with these."""
    random = np.random.default_rng(seed)
    more = faces + random.normal(size=faces.shape) * noise / np.sqrt(faces.shape[1])
    return (more / np.linalg.norm(more, axis=1, keepdims=True)).astype(np.float32)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_pairs_of_one_photo(photos):
    photos = np.array(photos, np.int64)
    found = {tuple(sorted(pair)) for pair in zip(*(each.tolist() for each in same_photo(photos)), strict=True)}
    assert found == {(i, j) for j in range(len(photos)) for i in range(j) if photos[i] == photos[j]}


def test_a_picture_that_is_twice_in_a_photo_is_one_person():
    faces = arc(0, 20, 80, 82)  # .94, and .9994 between the last two
    assert free(faces, np.array([0, 0, 1, 2])) == [1]
    assert free(faces, np.array([0, 1, 2, 2])) == [3]
    assert graph(faces[:2], np.array([0, 0])).tolist() == [0, 0]


def test_what_is_only_alike_stays_apart():
    faces = arc(0, 30, 180)  # .87
    assert free(faces, np.array([0, 0, 0])) == []
    assert graph(faces, np.array([0, 0, 0])).tolist() == [-1] * 3


def test_lookalikes_in_a_crowded_place_must_be_more_alike_to_be_one_picture():
    crowd = np.full(2, 0.2, np.float32)
    for crowding, expected in ((crowd, [0, 0]), (0 * crowd, [0, 3])):
        given = (Likeness(arc(0, 20), crowding), *nearest(arc(0, 20)), np.zeros(2, int), np.ones(2, bool))
        assert photo_numbers(*given, PICTURE).tolist() == expected


def test_blurs_are_no_pictures_of_each_other():
    assert free(arc(0, 1), np.array([0, 0]), good=np.array([True, False])) == []


def test_a_mirror_does_not_make_one_of_twins():
    """One twin beside her mirror image, and the other: three faces, two people, in this and in another photo."""
    faces = arc(0, 5, 45, 2, 47)
    labels = graph(faces, np.array([0, 0, 0, 1, 1]))
    assert labels.tolist() == [0, 0, 1, 0, 1]


@pytest.mark.parametrize(("faces", "collage"), [(4, True), (3, False), (2, False)])
def test_four_faces_that_look_like_one_are_a_collage_and_triplets_are_three_people(faces, collage):
    alike, _ = people([faces], 0.6, 128)  # .74
    assert bool(free(alike, np.zeros(faces, int))) is collage
    assert set(graph(alike, np.zeros(faces, int)).tolist()) == ({0} if collage else {-1})


def test_two_pairs_of_twins_among_ten_are_a_group():
    faces, _ = people([2, 2, 1, 1, 1, 1, 1], 0.6, 128)
    assert free(faces, np.zeros(9, int)) == []
    assert free(faces[:7], np.zeros(7, int)) == list(range(7)), "four of seven"


def album(sizes, tiles, seed=0):
    """Photos of these people, one each, and one photo with copies of those numbered `tiles`: faces, photos, who."""
    faces, who = people(sizes, 0.6, 128, seed)
    return (
        np.concatenate([faces, copies(faces[tiles], seed=seed)]),
        np.append(np.arange(len(faces)), np.full(len(tiles), len(faces))),
        np.append(who, who[tiles]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_photo_put_together_of_others_is_a_collage(seed):
    """Two photos of one person, and one of another: too few alike to say so, but all three are there by themselves."""
    faces, photos, who = album([5, 5], [0, 1, 7], seed)
    assert free(faces, photos) == [10, 11, 12]
    assert graph(faces, photos).tolist() == who.tolist()


def test_of_two_pieces_nobody_knows_whether_they_were_cut_out_of_the_photo():
    """Twins, and each of them once more, cut out of the photo."""
    faces, photos, _ = album([5, 5], [0, 1])
    assert free(faces, photos) == []


def test_a_series_of_photos_is_no_collage():
    """Three who look alike in five photos, one after the other: each picture is nearly that in the others."""
    one, _ = people([3], 0.6, 128)
    faces = np.concatenate([copies(one, 0.2, seed) for seed in range(5)])
    photos = np.repeat(np.arange(5), 3)
    assert free(faces, photos) == []
    labels = graph(faces, photos).reshape(5, 3)
    assert sorted(labels[0].tolist()) == [0, 1, 2]
    assert (labels == labels[0]).all()


def test_three_pieces_in_a_group_of_six_are_three_who_were_cut_out() -> None:
    faces, photos, _ = album([5, 5], [0, 1, 7])
    others, _ = people([1, 1, 1], 0.6, 128, 9)
    assert free(np.concatenate([faces, others]), np.append(photos, [10] * 3)) == []
    assert free(np.concatenate([faces, others[:1]]), np.append(photos, 10)) == [10, 11, 12, 13], "three of four"


def beside(extra: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo of three, and three photos that show one of them in the same picture and the others so much like them."""
    three, _ = people([1, 1, 1], 0.6, 128, 5)
    faces, photos = [three], [np.zeros(3, int)]
    for number in range(3):
        others = copies(np.delete(three, number, 0), noise, number)
        faces += [copies(three[number : number + 1]), others, extra]
        photos.append(np.full(3 + len(extra), number + 1))
    return np.concatenate(faces), np.concatenate(photos)


NOBODY = np.empty((0, 128), np.float32)
FOUR = people([4], 0.6, 128, 7)[0]  # four pictures of one person, which make a collage of any photo of seven


def test_photos_of_one_moment_are_no_pieces_of_each_other() -> None:
    """In each of three photos one looks the same again, the others have moved."""
    assert free(*beside(NOBODY, 0.6)) == []


def test_a_photo_that_was_pasted_into_collages_is_none() -> None:
    faces, photos = beside(FOUR, 0.6)  # small, so that not each of its faces is taken for the same picture
    assert not set(free(faces, photos)) & {0, 1, 2}


def test_collages_of_the_same_people_are_pieces_of_each_other() -> None:
    faces, photos = beside(FOUR, 1.1)  # the others are there in other pictures
    assert {0, 1, 2} <= set(free(faces, photos))
    assert not free(*beside(NOBODY, 1.1)), "who are in photos that are no collages were there together"


@pytest.mark.parametrize("seed", range(3))
def test_five_people_with_twenty_collages_stay_five(seed):
    """Collages of four and nine tiles, of one person and of all, with tiles that are there twice, and mirrors."""
    random = np.random.default_rng(seed)
    singles, who = people([15] * 5, 0.6, 128, seed)
    faces, photos, truth = [singles], [np.arange(75)], [who]
    for number in range(20):
        tiles = random.choice(np.flatnonzero(who == number % 5) if number % 4 < 2 else 75, [4, 9][number % 2])
        tiles[1] = tiles[0]
        faces.append(copies(singles[tiles], 0.2, 100 * seed + number))
        photos.append(np.full(len(tiles), 75 + number))
        truth.append(who[tiles])
    faces, photos, truth = (np.concatenate(each) for each in (faces, photos, truth))
    labels = graph(faces, photos)
    alone = np.count_nonzero(labels < 0)
    assert len(set(zip(labels[labels >= 0].tolist(), truth[labels >= 0].tolist(), strict=True))) == 5
    assert labels.max() == 4
    assert alone <= len(faces) // 20
    likeness = Likeness(faces, np.zeros(len(faces), np.float32))
    assert held_apart(likeness, labels, photos, GraphParameters().threshold) == alone, "it says whom it left out"


def test_faces_held_apart_are_counted():
    faces = arc(0, 1, 2, 30, 90, 91)
    plain = Likeness(faces, np.zeros(6, np.float32))
    labels = np.array([0, 0, 0, -1, 1, 1])
    assert held_apart(plain, labels, np.array([0, 1, 2, 2, 3, 4]), 0.465) == 1, "the fourth is like the first"
    assert held_apart(plain, labels, np.array([0, 1, 2, 5, 3, 4]), 0.465) == 0, "in no photo with them"
    assert held_apart(plain, labels, np.array([0, 1, 2, 3, 2, 3]), 0.465) == 1, (
        "the last two look like nobody else there"
    )
    crowded = Likeness(faces, np.full(6, 0.9, np.float32))
    assert held_apart(crowded, labels, np.array([0, 1, 2, 2, 3, 4]), 0.465) == 0, "all look like that there"
    assert held_apart(plain, np.full(6, -1), np.zeros(6, int), 0.465) == 0


def test_of_two_people_who_look_alike_the_smaller_ones_faces_are_counted():
    faces = arc(0, 1, 2, 40, 41)
    labels, photos = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    assert held_apart(Likeness(faces, np.zeros(5, np.float32)), labels, photos, 0.465) == 2


def test_no_faces():
    nothing = np.empty((0, 4), np.float32)
    likeness = Likeness(nothing, np.empty(0, np.float32))
    given = (np.empty((0, 3), int), np.empty((0, 3), np.float32), np.empty(0, int), np.empty(0, bool))
    assert photo_numbers(likeness, *given, PICTURE).tolist() == []
    assert held_apart(likeness, np.empty(0, int), np.empty(0, int), 0.465) == 0
