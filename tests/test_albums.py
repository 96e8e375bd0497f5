"""Albums in which few or none are to be found: what the pages say of them, by the model that is shipped."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks import collages
from helpers.fixtures import Outcome
from muster.pipeline.people.grouping import ClusterSummary, cluster_faces
from muster.pipeline.people.pages import write_people
from muster.pipeline.reading import table
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import scan

# COCO's photos of people, of whom many are blurred or far away; 544 shows a stand of spectators
STRANGERS = (110, 113, 165, 241, 294, 308, 315, 326, 328, 370, 389, 395, 415, 428, 431, 459, 536, 544, 564, 572)
ANIMALS = (25, 34, 42, 72, 133, 143, 144, 154, 263, 307, 309, 312, 394, 400, 490, 491, 502, 575)  # and of nobody

Album = Callable[[], tuple[LibraryFiles, ClusterSummary]]


@pytest.fixture
def album(tmp_path: Path, weights: Path, work: Callable[..., object]) -> Album:
    """album(): the photos in tmp_path/photos as a library whose people pages are written, and what was found."""

    def process() -> tuple[LibraryFiles, ClusterSummary]:
        library = open_library(tmp_path / "L", create=True)
        scan(library, [str(tmp_path / "photos")])
        work(tmp_path / "L", weights)
        found = cluster_faces(library, None, "graph", None, same_photo=False)
        pages = write_people(library, None, tmp_path / "pages")
        assert (pages.people, pages.errors) == (found.people, 0)
        assert len(list((tmp_path / "pages").glob("people/*.html"))) == found.people
        text = (tmp_path / "pages" / "index.html").read_text()
        assert ("Person 1" in text) == (found.people > 0) == ("No people yet." not in text)
        return library, found

    (tmp_path / "photos").mkdir()
    return process


def ids(library: LibraryFiles) -> list[str | None]:
    [name] = library.names("clusters")
    return pq.read_table(library.at(f"clusters/{name}/clusters.parquet"))["cluster_id"].to_pylist()


def coco(data: Path, numbers: tuple[int, ...], folder: Path) -> None:
    for number in numbers:
        shutil.copy(data / f"coco128/images/{number:012}.jpg", folder)


def test_one_photo(data: Path, tmp_path: Path, album: Album) -> None:
    shutil.copy(next((data / "photos/johns/John_Simm").iterdir()), tmp_path / "photos")
    _, found = album()
    assert (found.faces, found.people, found.unclustered) == (1, 0, 1)


def test_strangers_only(data: Path, tmp_path: Path, album: Album) -> None:
    coco(data, STRANGERS, tmp_path / "photos")
    _, found = album()
    assert found.faces > len(STRANGERS)
    assert found.people == 0


@pytest.mark.parametrize("person", ["John_Salley", "John_Savage", "John_Schneider", "John_Shimkus", "John_Simm"])
def test_one_person_only(data: Path, tmp_path: Path, album: Album, person: str) -> None:
    for photo in sorted((data / "photos/johns" / person).iterdir()):
        shutil.copy(photo, tmp_path / "photos")
    library, found = album()
    assert (found.people, found.clustered) == (1, 11)
    assert len(set(ids(library)) - {None}) == 1


def test_animals_and_paintings_only(data: Path, tmp_path: Path, album: Album) -> None:
    coco(data, ANIMALS, tmp_path / "photos")
    for painting in (data / "style").glob("*.jpg"):
        shutil.copy(painting, tmp_path / "photos")
    _, found = album()
    assert found.people == 0


def head() -> Image.Image:
    return Image.fromarray(pytest.importorskip("skimage.data").astronaut()).crop((110, 0, 350, 240))


def test_many_copies_of_one_file(tmp_path: Path, album: Album) -> None:
    """A copy shows nobody a second time, so that there is still one face alone."""
    head().save(tmp_path / "photos" / "0.jpg", quality=95)
    for number in range(1, 40):
        shutil.copy(tmp_path / "photos" / "0.jpg", tmp_path / "photos" / f"{number}.jpg")
    _, found = album()
    assert (found.faces, found.people, found.unclustered) == (40, 0, 40)


def test_one_photo_saved_again_and_again(tmp_path: Path, album: Album) -> None:
    """Other files, and the same person in all of them."""
    for number in range(40):
        side = 240 - 3 * number
        head().resize((side, side)).save(tmp_path / "photos" / f"{number}.jpg", quality=95 - number)
    _, found = album()
    assert found.faces == 40
    assert found.people == 1
    assert found.clustered >= 38


@pytest.mark.parametrize(("five", "seed"), [(0, 0), (0, 1), (1, 0)])
def test_five_people_with_twenty_collages_stay_five(
    data: Path, tmp_path: Path, album: Album, five: int, seed: int
) -> None:
    """Collages of one of them, or of whoever comes; tiles are shrunk or enlarged, mirrored, or there twice."""
    rows = pq.read_table(data / "lfw/lfw.parquet", columns=["person", "image"]).to_pylist()
    pictures = collages.album(rows, collages.FIVES[five], seed)
    for number, picture in enumerate(pictures):
        (tmp_path / f"photos/{number}.jpg").write_bytes(picture.jpeg)
    library, found = album()
    assert (found.people, found.held_apart) == (5, 0)
    manifest = table(library, "manifest", None, None)
    files = dict(zip(*(manifest[name].to_pylist() for name in ("image_id", "uri")), strict=True))
    there: dict[int, Counter[str]] = defaultdict(Counter)
    for row in table(library, "clusters", None, None).to_pylist():
        there[int(Path(files[row["image_id"]]).stem)][row["cluster_id"]] += 1
    single = [number for number, picture in enumerate(pictures) if len(picture.people) == 1]
    person = {pictures[number].people[0]: next(iter(there[number])) for number in single}
    assert len(set(person.values())) == len(person) == 5
    for number, picture in enumerate(pictures):
        assert there[number] == Counter(person[name] for name in picture.people)


def test_a_collage_of_four_men(data: Path, tmp_path: Path, album: Album) -> None:
    """Six photos of each in one picture, and nothing else."""
    shutil.copy(data / "photos/groups/bald_guys.jpg", tmp_path / "photos")
    library, found = album()
    assert (found.people, found.held_apart) == (4, 0)
    assert set(Counter(ids(library)).values()) == {6}


def test_an_album_of_nobody_by_the_commands(
    data: Path, tmp_path: Path, muster: Callable[..., Outcome], ray_cluster: None
) -> None:
    coco(data, ANIMALS[:3], tmp_path)
    library = tmp_path / "L"
    for arguments in (
        ("scan", tmp_path, "-l", library),
        ("run", "-l", library, "--tasks", "faces,previews"),
        ("cluster", "-l", library, "--json"),
        ("people", "-l", library, "--out", tmp_path / "pages", "--json"),
    ):
        outcome = muster(*arguments)
        assert (outcome.code, "Warning" in outcome.err) == (0, False), outcome.err
        if "--json" in arguments:
            assert outcome.facts["people"] == 0
    assert (tmp_path / "pages" / "index.html").is_file()
