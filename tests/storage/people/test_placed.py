import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.people import BOX, SIZE, face_ref, faces_of, images_of, photo_ref
from muster.storage.people.facts import FaceRef, PhotoRef
from muster.storage.people.placed import Photos, Places, place
from muster.storage.people.view import boxes_of

LEFT, RIGHT, FAR = (10.0, 10.0, 50.0, 50.0), (60.0, 10.0, 100.0, 50.0), (200.0, 200.0, 240.0, 240.0)


def placed(refs, boxes, content=None):
    faces = faces_of(boxes)
    return place(refs, Photos(images_of(len(boxes), content)), faces["image_id"], boxes_of(faces))


def test_a_face_is_where_its_box_is() -> None:
    found = placed([face_ref(1, RIGHT), face_ref(1, LEFT), face_ref(0)], [[LEFT], [LEFT, RIGHT]])
    assert found.rows == [[2], [1], [0]]
    assert found.first.tolist() == [2, 1, 0]
    assert found.without == [[], [], []]


def test_another_model_boxes_a_face_a_bit_differently() -> None:
    wider, higher = (5.0, 8.0, 55.0, 60.0), (58.0, 2.0, 99.0, 52.0)
    assert placed([face_ref(0, LEFT), face_ref(0, RIGHT)], [[higher, wider]]).rows == [[1], [0]]


def test_of_two_boxes_over_one_face_one_is_the_face() -> None:
    found = placed([face_ref(0, (20.0, 10.0, 60.0, 50.0)), face_ref(0, (12.0, 10.0, 52.0, 50.0))], [[LEFT]])
    assert found.rows == [[], [0]]
    assert found.without == [["i0"], []]


def test_a_face_is_in_every_copy_of_its_file() -> None:
    found = placed([face_ref(5), face_ref(5, FAR)], [[LEFT], [LEFT], [RIGHT, LEFT]], [5, 6, 5])
    assert found.rows == [[0, 3], []]
    assert found.without == [[], ["i0", "i2"]]


def test_a_photo_that_is_gone_has_nobody() -> None:
    found = placed([face_ref(7)], [[LEFT]])
    assert (found.rows, found.without, found.first.tolist()) == ([[]], [[]], [-1])


def test_a_face_that_is_gone_is_told_by_its_photo() -> None:
    assert placed([face_ref(0, FAR), None], [[LEFT]]).without == [["i0"], []]


def test_a_file_into_which_a_program_wrote_tags_is_the_same_photo() -> None:
    old = PhotoRef("f" * 64, SIZE, (1 << 32) ^ 0b101, "1.jpg")
    assert placed([FaceRef(old, BOX)], [[LEFT], [LEFT]]).rows == [[1]]


@pytest.mark.parametrize(
    "ref",
    [
        PhotoRef("f" * 64, SIZE, None, "1.jpg"),
        PhotoRef("f" * 64, (SIZE[0] + 1, SIZE[1]), 1 << 32, "1.jpg"),
        PhotoRef("f" * 64, SIZE, (1 << 32) ^ 0b11111, "1.jpg"),
        PhotoRef("f" * 64, SIZE, 1 << 32, "2.jpg"),
        PhotoRef("f" * 64, (10**8, 10**8), -(2**63), ""),
    ],
)
def test_a_photo_that_only_looks_alike_is_another(ref: PhotoRef) -> None:
    assert placed([FaceRef(ref, BOX)], [[LEFT], [LEFT]]).rows == [[]]


def test_tags_in_copies_leave_them_copies_and_two_contents_would_be_a_guess() -> None:
    images = images_of(3, [1, 1, 2])
    old = FaceRef(PhotoRef("f" * 64, SIZE, 1 << 32, "1.jpg"), BOX)
    faces = faces_of([[LEFT]] * 3)
    assert place([old], Photos(images), faces["image_id"], boxes_of(faces)).rows == [[0, 1]]
    sums = pa.array(["a" * 64, "b" * 64, "c" * 64])
    other = images.set_column(images.column_names.index("sha256"), "sha256", sums)
    assert place([old], Photos(other), faces["image_id"], boxes_of(faces)).rows == [[]]


def test_photos_are_named_by_their_content() -> None:
    photos = Photos(images_of(3))
    assert photos.ref("i2") == photo_ref(2)
    assert photos.refs(["i1", "gone", "i0"]) == {"i1": photo_ref(1), "i0": photo_ref(0)}
    with pytest.raises(LookupError):
        photos.ref("gone")


boxes = st.sampled_from([LEFT, RIGHT, FAR, (15.0, 12.0, 55.0, 52.0), (30.0, 10.0, 80.0, 50.0)])
refs = st.none() | st.builds(face_ref, st.integers(0, 4), boxes)


@given(
    st.lists(st.lists(boxes, max_size=3), min_size=1, max_size=4),
    st.lists(st.lists(refs, max_size=6), min_size=1, max_size=4),
)
def test_step_by_step_it_is_as_at_once(photos, steps) -> None:
    faces = faces_of(photos)
    places = Places(Photos(images_of(len(photos))), faces["image_id"], boxes_of(faces))
    for step in steps:
        again, once = places.of(step), placed(step, photos)
        assert (again.rows, again.without) == (once.rows, once.without)
        np.testing.assert_array_equal(again.first, once.first)


def test_what_was_given_before_stays_as_it_was() -> None:
    faces = faces_of([[LEFT], [LEFT]])
    places = Places(Photos(images_of(2)), faces["image_id"], boxes_of(faces))
    before = places.of([face_ref(0)])
    places.of([None, face_ref(1)])
    assert (before.rows, before.first.tolist()) == ([[0]], [0])
