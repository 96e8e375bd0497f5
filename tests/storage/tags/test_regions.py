import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.people.boxes import overlap
from muster.storage.photos import pixels
from muster.storage.tags.regions import Picture, place, upright
from muster.storage.tags.said import Area, Box

ORIENTATIONS = range(1, 9)


def stored(box: Box, orientation: int) -> Box:
    """The inverse of `upright`: orientations 6 and 8 undo each other, all others themselves."""
    return upright(box, {6: 8, 8: 6}.get(orientation, orientation))


def area(box: Box | None, name: str | None = "Ann", origin: str = "mwg-rs", **more: object) -> Area:
    return Area(origin=origin, name=name, type="Face", box=box, **more)  # type: ignore[arg-type]


def pixel_box(box: Box, picture: Picture) -> Box:
    return (
        box[0] * picture.width,
        box[1] * picture.height,
        box[2] * picture.width,
        box[3] * picture.height,
    )


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """In parts of the picture, at least a hundredth wide and high."""
    x, y = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return x, y, draw(st.floats(x + 0.01, 1)), draw(st.floats(y + 0.01, 1))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_is_turned_as_pixels_are(orientation: int) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10:18, 6:30] = 255
    rows, columns = np.nonzero(pixels.upright(picture, orientation)[..., 0])
    height, width = pixels.upright(picture, orientation).shape[:2]
    x0, y0, x1, y1 = upright((6 / 60, 10 / 40, 30 / 60, 18 / 40), orientation)
    found = [x0 * width, y0 * height, x1 * width, y1 * height]
    assert found == pytest.approx([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@given(boxes(), st.sampled_from(ORIENTATIONS), st.booleans(), st.booleans())
def test_regions_of_either_frame_come_back(box: Box, orientation: int, upright_frame: bool, in_pixels: bool) -> None:
    """Where the dimensions tell: of an image that is not square, and turned by a quarter."""
    picture = Picture(*((600, 400) if orientation < 5 else (400, 600)), orientation)
    turned = upright_frame and orientation >= 5
    frame = (picture.width, picture.height) if turned or orientation < 5 else (picture.height, picture.width)
    written = box if turned else stored(box, orientation)
    if in_pixels:
        written = pixel_box(written, Picture(*frame))
    placed = place([area(written, applied_to=frame, pixels=in_pixels)], picture)
    [region] = placed.regions
    assert overlap(region.box, pixel_box(box, picture)) >= 0.99
    assert (region.name, region.origin, placed.people, placed.remarks) == ("Ann", "mwg-rs", [], [])


@given(boxes(), st.sampled_from(ORIENTATIONS))
def test_regions_that_say_nothing_of_their_frame_are_of_the_stored_picture(box: Box, orientation: int) -> None:
    picture = Picture(400, 600, orientation)
    for origin in ("mwg-rs", "mp"):
        [region] = place([area(stored(box, orientation), origin=origin)], picture).regions
        assert overlap(region.box, pixel_box(box, picture)) >= 0.99


WAYS = [(orientation, up, mp_up) for orientation in ORIENTATIONS for up in (False, True) for mp_up in (False, True)]


@pytest.mark.parametrize(
    ("orientation", "mwg_upright", "mp_upright"), [way for way in WAYS if not (way[0] in (2, 3, 4) and way[1])]
)
def test_two_schemas_that_disagree_are_turned_until_they_agree(
    orientation: int, mwg_upright: bool, mp_upright: bool
) -> None:
    """MWG with dimensions that tell, or as the guidelines have it; MP in the one frame or the other."""
    people: dict[str, Box] = {"Ann": (0.1, 0.2, 0.3, 0.35), "Bob": (0.55, 0.15, 0.7, 0.4)}
    picture = Picture(600, 400, orientation)
    size = (600, 400) if mwg_upright or orientation < 5 else (400, 600)
    areas = [
        area(box if up else stored(box, orientation), name, origin, applied_to=size if origin == "mwg-rs" else None)
        for origin, up in (("mwg-rs", mwg_upright), ("mp", mp_upright))
        for name, box in people.items()
    ]
    placed = place(areas, picture)
    assert [(region.name, region.origin) for region in placed.regions] == [("Ann", "mwg-rs"), ("Bob", "mwg-rs")]
    for region, box in zip(placed.regions, people.values(), strict=True):
        assert overlap(region.box, pixel_box(box, picture)) >= 0.99
    assert not placed.remarks


def test_dimensions_of_a_smaller_copy_are_noticed() -> None:
    placed = place([area((0.5, 0.5, 0.75, 0.75), applied_to=(540, 960))], Picture(720, 1280))
    assert placed.regions[0].box == (360, 640, 540, 960)
    assert placed.remarks == ["regions were drawn in a picture of 540×960, and this one is 720×1280"]


@pytest.mark.parametrize(("applied", "why"), [((960, 540), "turned"), ((900, 960), "cropped"), ((1, 1), "cropped")])
def test_dimensions_of_another_picture_leave_the_names(applied: tuple[int, int], why: str) -> None:
    placed = place([area((0.5, 0.5, 0.75, 0.75), applied_to=applied)], Picture(720, 1280))
    assert (placed.regions, placed.people) == ([], ["Ann"])
    assert f"{why} since, so that they have no place" in placed.remarks[0]


def test_regions_outside_of_the_image() -> None:
    far: list[Box] = [(1.1, 0.1, 1.3, 0.3), (-5e8, -5e8, 5e8, 5e8), (0.1, 2.0, 0.3, 3.0)]
    placed = place([area(box, name) for box, name in zip(far, "abc", strict=True)], Picture(100, 100))
    assert (placed.regions, placed.people, placed.remarks) == (
        [],
        ["a", "b", "c"],
        ["a region lies outside the image"],
    )
    placed = place([area((-0.1, 0.5, 0.1, 0.9)), area((0.5, 0.5, 1.0001, 0.9), "Bob")], Picture(100, 100))
    assert [region.box for region in placed.regions] == [(0, 50, 10, 90), (50, 50, 100, 90)]
    assert placed.remarks == ["a region reaches out of the image"]


def test_names_without_a_place() -> None:
    placed = place(
        [area(None, "Ann"), area(None, "Bob"), area((0, 0, 0.5, 0.5), "Ann"), area(None, None)], Picture(8, 8)
    )
    assert ([region.name for region in placed.regions], placed.people) == (["Ann"], ["Bob"])
    placed = place([area((0, 0, 0.5, 0.5))], None)
    assert (placed.regions, placed.people) == ([], ["Ann"])
    assert placed.remarks == ["regions without a place: the size of the image is not known"]
    assert place([], None).remarks == []


def test_what_is_said_twice_is_one_region() -> None:
    here, there = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)
    placed = place([area(here, None), area(there), area(there), area(here, "Bob", "mp")], Picture(100, 100))
    assert [(region.name, region.box) for region in placed.regions] == [
        ("Bob", (10, 10, 40, 40)),
        ("Ann", pytest.approx((60, 60, 90, 90))),
    ]
    placed = place([area(here, "Ann"), area(here, "Anne", "mp")], Picture(100, 100))
    assert [region.name for region in placed.regions] == ["Ann"]
    assert placed.remarks == ["two names for one place: the first counts"]


@given(
    st.lists(
        st.tuples(st.tuples(*[st.floats(-1e9, 1e9)] * 4), st.sampled_from(["Ann", "Bob", None]), st.booleans()),
        max_size=6,
    ),
    st.sampled_from(ORIENTATIONS),
    st.one_of(st.none(), st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))),
)
def test_whatever_is_written_regions_are_inside(
    written: list[tuple[Box, str | None, bool]], orientation: int, applied: tuple[float, float] | None
) -> None:
    areas = [area(box, name, "mp", pixels=pixels, applied_to=applied) for box, name, pixels in written]
    placed = place(areas, Picture(300, 200, orientation))
    for region in placed.regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 300
        assert 0 <= y0 < y1 <= 200
    names = {name for _, name, _ in written if name}
    assert {*placed.people, *(region.name for region in placed.regions if region.name)} == names
