import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from helpers.embeddings import arc, nearest, people
from helpers.said import said_of, sayings, violations
from muster.tasks.metrics.people import bcubed_f1, pairwise_f1
from muster.tasks.people.collages import PAIRED
from muster.tasks.people.graph import GraphParameters, Strangers, cluster_graph, lookalikes
from muster.tasks.people.said import nothing
from muster.tasks.people.settle import settle

# average linkage and nothing else: no neighbour is close enough to smooth with, none is a stranger
PLAIN = GraphParameters(threshold=0.5, smoothing=2, stranger=-2, min_quality=0)


def graph(embeddings, images=None, quality=None, parameters=None, strangers=None, said=None, tracks=None):
    n = len(embeddings)
    images = np.arange(n) if images is None else images
    quality = np.ones(n, np.float32) if quality is None else quality
    return cluster_graph(embeddings, *nearest(embeddings), images, quality, parameters, strangers, said, tracks)


def named(embeddings, said, **given_):
    """The person of each face, -1 nobody, and -2 - its cluster where that is nobody."""
    labels = graph(embeddings, said=said, **given_)
    again, people = settle(labels, said, embeddings.__getitem__)
    assert again.tolist() == labels.tolist(), "nothing is left to settle"
    who = np.append(people, -1)[labels]
    return np.where((who < 0) & (labels >= 0), -2 - labels, who).tolist()


def groups(labels):
    """The partition without its numbers: the set of clusters, each the set of its rows."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {-1}}


@st.composite
def libraries(draw):
    """Up to 30 faces of up to 6 people, alike and less so, some in one photo, of low quality, or exact copies."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=6))
    faces, _ = people(sizes, draw(st.sampled_from([0.3, 0.8, 1.1])), 12, draw(st.integers(0, 10_000)))
    faces = faces[:30]
    n = len(faces)
    copies = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=3))
    images = np.array(draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))
    for source, copy in copies:
        if source != copy:
            faces[copy], images[copy] = faces[source], n + 1 + copy
    quality = np.array(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n)), np.float32)
    return faces, images, quality


@st.composite
def crowds(draw):
    """Up to 30 strangers beside `libraries`, some of whom are faces of them; or none came with the model."""
    count = draw(st.integers(0, 30))
    faces, _ = people([1] * max(1, count), 0.8, 12, draw(st.integers(0, 10_000)))
    return Strangers(faces, draw(st.sampled_from([-0.2, 0.1, 0.3]))) if count else None


@given(libraries(), crowds(), st.randoms(use_true_random=False))
def test_the_order_of_the_faces_does_not_matter(library, strangers, random):
    order = np.array(random.sample(range(len(library[0])), len(library[0])))
    expected = graph(*library, strangers=strangers)
    shuffled = np.empty_like(expected)
    shuffled[order] = graph(*(column[order] for column in library), strangers=strangers)
    assert groups(shuffled) == groups(expected)
    assert shuffled.tolist() == expected.tolist()


@given(libraries(), crowds())
def test_what_always_holds_of_clusters(library, strangers):
    _, images, quality = library
    labels = graph(*library, strangers=strangers)
    sizes = np.bincount(labels[labels >= 0])
    assert (sizes >= 2).all()
    assert (np.diff(sizes) <= 0).all()
    _, photo, faces_in = np.unique(images, return_inverse=True, return_counts=True)
    few = faces_in[photo] < PAIRED  # no photo of these is a collage, and without copies none has one picture twice
    apart = graph(*library, GraphParameters(picture=2), strangers)
    clustered = list(zip(*(column[few & (apart >= 0)].tolist() for column in (apart, images)), strict=True))
    assert len(set(clustered)) == len(clustered), "two faces of one photo in one cluster"
    good = quality >= GraphParameters().min_quality
    assert all(good[labels == label].sum() >= 2 for label in range(len(sizes)))


@given(libraries(), crowds())
def test_low_quality_faces_change_nothing_for_the_others(library, strangers):
    faces, images, quality = library
    good = quality >= GraphParameters().min_quality
    without = groups(graph(faces[good], images[good], quality[good], strangers=strangers)) if good.any() else set()
    assert groups(graph(*library, strangers=strangers)[good]) == without


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 1.1]))
def test_without_further_rules_it_is_average_linkage(seed, noise):
    faces, _ = people([3, 3, 2, 1], noise, 8, seed)
    distances = 1 - (faces @ faces.T)[np.triu_indices(len(faces), 1)].astype(np.float64)
    expected = fcluster(linkage(distances, "average"), 0.5, "distance")
    expected = np.where(np.bincount(expected)[expected] > 1, expected, -1)
    assert groups(graph(faces, parameters=PLAIN)) == groups(expected)


def test_a_library_like_a_real_one():
    random = np.random.default_rng(1)
    sizes = np.minimum(random.zipf(1.9, 700), 60)
    faces, truth = people(sizes, 0.75, 128)
    labels = cluster_graph(faces, *nearest(faces, 50), np.arange(len(faces)), np.ones(len(faces), np.float32))
    assert pairwise_f1(labels, truth).f1 > 0.98
    assert bcubed_f1(labels, truth).f1 > 0.98


def test_a_low_quality_face_joins_and_does_not_bridge():
    faces = arc(0, 1, 35, 70, 71)  # between the outer pairs .34, which the one in the middle lifts above .48
    quality = np.array([1, 1, 0.05, 1, 1], np.float32)
    parameters = GraphParameters(threshold=0.48, smoothing=2, stranger=-2)
    assert graph(faces, parameters=parameters).tolist() == [0] * 5, "all are one, had it quality"
    labels = graph(faces, quality=quality, parameters=parameters)
    assert labels[0] == labels[1] != labels[3] == labels[4]
    assert labels[2] >= 0, "it joins one of them"
    assert graph(faces[2:4], quality=quality[2:4], parameters=parameters).tolist() == [-1, -1], "it starts none"


def test_two_low_quality_faces_of_one_photo_do_not_join_one_cluster():
    faces = arc(0, 2, 10, 20)
    images, quality = np.array([0, 1, 2, 2]), np.array([1, 1, 0, 0], np.float32)
    assert graph(faces, images, quality).tolist() == [0, 0, 0, -1]


def test_twins_in_one_photo_are_two_people_unless_the_user_says_so():
    faces, _ = people([6], 0.4)  # cosines of .8 to .9: no picture of theirs is the other's
    images = np.array([0, 0, 1, 1, 2, 2])
    apart = graph(faces, images)
    assert all(len({apart[i], apart[i + 1]}) == 2 for i in (0, 2, 4))
    together = graph(faces, images, parameters=GraphParameters(same_photo=True))
    assert together.tolist() == [0] * 6


def mirror(seed):
    """Two hundred photos of one person, half from aside, and in one of them both."""
    random = np.random.default_rng(seed)
    plain, aside = np.linalg.qr(random.normal(size=(64, 2)))[0].T
    faces = np.repeat([plain, 0.7 * plain + np.sqrt(1 - 0.7**2) * aside], 100, axis=0)
    faces = faces + random.normal(size=faces.shape) * 0.4 / np.sqrt(64)
    faces = (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32)
    images = np.arange(200)
    images[100] = images[0]
    return faces, images


@pytest.mark.parametrize("seed", range(4))
def test_one_mirror_does_not_keep_a_person_of_many_photos_in_two(seed):
    """A hundred photos with glasses and a hundred without; in one photo the mirror shows the glasses from aside."""
    faces, images = mirror(seed)
    labels = graph(faces, images)
    assert sorted(labels[[0, 100]].tolist()) == [-1, 0]
    assert np.count_nonzero(labels == 0) == 199


def test_of_two_lookalikes_in_one_photo_the_second_keeps_its_own_company():
    def at(degrees, axis):  # so far from the person of 30 photos, each in a direction of its own
        face = np.zeros(4, np.float32)
        face[[0, axis]] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return face

    faces = np.stack([at(0, 1)] * 30 + [at(10, 1), at(11, 2), at(12, 3), at(40, 3)])
    images = np.array([*range(31), 31, 31, 32])
    apart = GraphParameters(0.8, smoothing=2, stranger=-2, picture=2)  # and not one picture that is there twice
    labels = graph(faces, images, parameters=apart)
    assert labels.tolist() == [0] * 32 + [1, 1]


@given(st.integers(0, 6), st.integers(1, 40), st.integers(0, 10_000))
def test_lookalikes_are_the_ten_most_alike_but_the_first(count, crowd, seed):
    faces = people([1] * max(1, count), 1, 8, seed)[0][:count]
    strangers, _ = people([1] * crowd, 1, 8, seed + 1)
    found = lookalikes(faces, strangers)
    assert (found.shape, found.dtype) == ((count,), np.float32)
    for face, value in zip(faces, found, strict=True):
        ten = sorted((float(face @ stranger) for stranger in strangers), reverse=True)[1:11]
        assert value == pytest.approx(np.mean(ten) if ten else 0, abs=1e-5)


def test_lookalikes_of_more_faces_than_are_compared_at_once():
    faces, strangers = people([1] * 8200, 1, 4)[0], people([1] * 20, 1, 4, 1)[0]
    parts = [lookalikes(faces[:5000], strangers), lookalikes(faces[5000:], strangers)]
    np.testing.assert_allclose(lookalikes(faces, strangers), np.concatenate(parts), atol=1e-6)


def alike(cosine, count, axis, dimensions=128):
    """`count` faces of which every two have this cosine: around one direction, each to a side of its own."""
    faces = np.zeros((count, dimensions), np.float32)
    faces[:, axis] = np.sqrt(cosine)
    faces[np.arange(count), axis + 1 + np.arange(count)] = np.sqrt(1 - cosine)
    return faces


def test_in_a_crowded_place_faces_must_be_more_alike():
    crowded, empty = alike(0.6, 14, 0), alike(0.6, 2, 40)
    faces = np.concatenate([crowded[:2], empty])
    strangers = Strangers(crowded[2:], usual=0.2)
    np.testing.assert_allclose(strangers.crowding(faces), [0.4, 0.4, -0.2, -0.2], atol=1e-5)
    assert graph(faces).tolist() == [0, 0, 1, 1]
    assert graph(faces, strangers=strangers).tolist() == [-1, -1, 0, 0]
    closer = np.concatenate([alike(0.95, 2, 80), empty])
    crowd = closer[0] * np.sqrt(0.6) + np.eye(128, dtype=np.float32)[100:112] * np.sqrt(1 - 0.6)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    assert Strangers(crowd, 0.4).crowding(closer)[0] > 0.3
    assert graph(closer, strangers=Strangers(crowd, 0.4)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_a_few_children_are_not_one_person_because_all_children_are_alike(seed):
    """Four faces in a library of four: without strangers nothing says that everybody there is alike."""
    children, _ = people([40], 0.9, 128, seed)
    others, _ = people([1] * 200, 1, 128, seed + 100)
    usual = float(np.median(lookalikes(others, others)))
    faces, strangers = children[:4], Strangers(np.concatenate([children[4:], others]), usual)
    assert graph(faces).tolist() == [0] * 4
    assert graph(faces, strangers=strangers).tolist() == [-1] * 4
    adults, _ = people([4], 0.9, 128, seed + 200)
    assert graph(adults, strangers=strangers).tolist() == [0] * 4


@given(libraries())
def test_strangers_who_are_nowhere_near_change_nothing(library):
    faces = library[0]
    strangers = Strangers(people([1] * 12, 1, faces.shape[1], 1)[0], usual=2)
    assert graph(*library, strangers=strangers).tolist() == graph(*library).tolist()


def test_copies_are_one_cluster():
    assert graph(np.repeat(arc(0, 90), 3, axis=0)).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_faces_are_alone(n):
    labels = cluster_graph(
        np.ones((n, 1), np.float32), np.full((n, 5), -1), np.full((n, 5), -1, np.float32), np.arange(n), np.ones(n)
    )
    assert labels.tolist() == [-1] * n
    assert labels.dtype == np.int64


def test_without_strangers_nothing_is_crowded() -> None:
    assert lookalikes(np.eye(4, dtype=np.float32), np.empty((0, 4), np.float32)).tolist() == [0] * 4


@st.composite
def spoken(draw):
    library = draw(libraries())
    return library, draw(sayings(len(library[0])))


@given(spoken(), crowds(), st.randoms(use_true_random=False))
def test_clusters_are_never_against_what_was_said_in_any_order(case, strangers, random):
    library, said = case
    labels = graph(*library, strangers=strangers, said=said)
    found, people = settle(labels, said, library[0].__getitem__)
    assert violations(found, people, said) == []
    assert groups(found) == groups(labels), "only people have one face"
    assert set(said.known.tolist()) - {-1} == set(people.tolist()) - {-1}
    order = np.array(random.sample(range(len(labels)), len(labels)))
    shuffled = np.empty_like(labels)
    shuffled[order] = graph(*(column[order] for column in library), strangers=strangers, said=said.part(order))
    assert shuffled.tolist() == labels.tolist()


@given(libraries(), crowds())
def test_nothing_said_changes_no_bit(library, strangers):
    without = graph(*library, strangers=strangers)
    assert graph(*library, strangers=strangers, said=nothing(len(library[0]))).tolist() == without.tolist()


def test_faces_said_to_be_one_person_are_one_cluster_however_different() -> None:
    faces = arc(0, 1, 90, 91, 180)
    assert named(faces, said_of(5, {0: 0, 2: 0, 4: 0})) == [0] * 5


def test_two_people_who_look_alike_stay_two() -> None:
    faces = arc(*range(8))
    who = named(faces, said_of(8, {0: 0, 7: 1}, shown={3: 1, 4: 0}))
    assert (who[0], who[3], who[4], who[7]) == (0, 1, 0, 1)
    assert set(who) == {0, 1}


def test_a_face_taken_from_somebody_else_takes_nobody_with_it() -> None:
    """Of two people the first has a face of the second, by the word of the user: new faces of the second are theirs."""
    first, second = arc(0, 1, 2), arc(80, 81, 82, 80.5, 81.5)
    said = said_of(8, {0: 0, 1: 0, 3: 0}, [(3, 1)], shown={4: 1, 5: 1})
    assert named(np.concatenate([first, second]), said) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_face_and_those_like_it_keep_away_from_a_person_whom_it_is_not() -> None:
    near, far = arc(0, 0.5, 1), arc(30, 30.1, 30.2)
    who = named(np.concatenate([near, far]), said_of(6, {0: 0}, [(3, 0)]))
    assert who[:3] == [0] * 3
    assert who[3] != 0
    assert graph(np.concatenate([near, far])).tolist() == [0] * 6


def test_what_a_user_put_together_of_one_photo_stays_together() -> None:
    faces, images = arc(0, 1, 2), np.array([0, 0, 1])
    assert graph(faces, images, parameters=GraphParameters(picture=2)).tolist() != [0, 0, 0]
    apart = GraphParameters(picture=2)
    assert named(faces, said_of(3, {0: 0, 1: 0}), images=images, parameters=apart) == [0, 0, 0]
    assert named(faces, said_of(3, shown={0: 0, 1: 0}), images=images, parameters=apart) == [0, 0, 0]


@pytest.mark.parametrize(("stays", "goes"), [(0, 100), (100, 0)])
def test_of_one_photo_the_face_that_was_named_stays_and_its_double_goes(stays, goes) -> None:
    faces, images = mirror(0)
    who = named(faces, said_of(200, {stays: 0, 50: 0, 150: 0}), images=images)
    assert (who.count(0), who[stays], who[goes]) == (199, 0, -1)


def test_a_face_of_low_quality_that_was_named_stays_and_brings_nobody() -> None:
    faces, quality = arc(0, 1, 100, 101), np.array([1, 1, 0, 1], np.float32)
    assert named(faces, said_of(4, {0: 0, 2: 0}), quality=quality) == [0, 0, 0, -1]
    assert named(faces[2:], said_of(2, {0: 0}), quality=quality[2:]) == [0, -1]


def test_thousands_of_faces_of_a_person_take_no_more_rounds_than_others() -> None:
    """Each is a cluster to begin with, and known to be of the person."""
    faces, _ = people([3000], 0.6)
    said = said_of(3000, shown=dict.fromkeys(range(3000), 0))
    began = time.perf_counter()
    labels = cluster_graph(faces, *nearest(faces, 50), np.arange(3000), np.ones(3000, np.float32), said=said)
    assert (labels.tolist(), time.perf_counter() - began < 10) == ([0] * 3000, True)


def test_the_faces_of_a_track_are_one_person_however_unlike_they_are():
    faces = arc(0, 80, 90)
    assert groups(graph(faces, parameters=PLAIN)) == {frozenset({1, 2})}
    assert groups(graph(faces, parameters=PLAIN, tracks=np.array([0, 0, 1]))) == {frozenset({0, 1})}


def test_poor_faces_of_a_track_make_nobody():
    faces, poor = arc(0, 5, 90), np.array([0.1, 0.1, 1], np.float32)
    assert groups(graph(faces, quality=poor, tracks=np.array([0, 0, 1]))) == set()


def test_two_tracks_that_are_seen_together_stay_two_people():
    """Also where faces of theirs from other moments are alike."""
    faces, tracks = arc(0, 30, 58, 32), np.array([0, 0, 1, 1])
    assert groups(graph(faces, images=np.array([0, 1, 0, 2]), parameters=PLAIN, tracks=tracks)) == {
        frozenset({0, 1}),
        frozenset({2, 3}),
    }
    assert groups(graph(faces, parameters=PLAIN, tracks=tracks)) == {frozenset({0, 1, 2, 3})}


@given(libraries(), st.integers(0, 10_000))
def test_tracks_bind_and_the_order_of_rows_is_of_no_account(library, seed):
    faces, images, quality = library
    random = np.random.default_rng(seed)
    n, tracks = len(faces), random.integers(0, max(1, len(faces) // 3), len(faces))
    again = np.setdiff1d(np.arange(n), np.unique(np.stack([tracks, images]), axis=1, return_index=True)[1])
    tracks[again] = n + again  # a second face of a photo
    labels = graph(faces, images, quality, tracks=tracks)
    good = quality >= GraphParameters().min_quality
    for track in set(tracks.tolist()):
        assert len(set(labels[good & (tracks == track)].tolist())) <= 1
    order = random.permutation(n)
    shuffled = graph(faces[order], images[order], quality[order], tracks=tracks[order])
    assert groups(shuffled) == {
        frozenset(np.flatnonzero(np.isin(order, list(group))).tolist()) for group in groups(labels)
    }
