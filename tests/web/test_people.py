import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from unicodedata import category
from urllib.parse import unquote, urljoin, urlsplit

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.collection import CLUSTERS, FACES, FINGERPRINTS, LABELS, Collection, _table
from helpers.people import said
from muster.errors import InputError, MusterError
from muster.storage import tables
from muster.storage.people import facts
from muster.storage.people.facts import FaceRef, PhotoRef
from muster.storage.people.view import view
from muster.storage.photos.listing import list_files, locate
from muster.storage.tags import table as tags
from muster.tasks import registry
from muster.web import album, words
from muster.web.album import LabelTable
from muster.web.people import PagesSource, PagesSummary, write_pages
from muster.web.render import _window
from muster.web.site import Site


class Parsed(HTMLParser):
    """A page's elements as (tag, attributes), and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data + " "

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Two people, one of them with a companion in one photo, an exact duplicate, a stranger, no face, two errors."""
    photos = tmp_path / "my photos"
    photos.mkdir()
    made = Collection()
    named = [photos / name for name in ("b.jpg", "a.jpg", "copy of a.jpg", "100% ünï#1?.jpg")]
    for path in named:
        path.write_bytes(b"original")
    made.photo(named[0], ["anna"], taken_at=None)
    made.photo(named[1], ["anna", "bert"], taken_at=datetime(2021, 5, 1, 9, 30), camera="Canon", sha256="same")
    made.photo(named[2], ["anna", "bert"], taken_at=datetime(2021, 5, 1, 9, 30), camera="Canon", sha256="same")
    made.photo(named[3], ["anna", None], taken_at=datetime(2019, 12, 31, 23, 59))
    made.photo("/gone/landscape.jpg")
    made.broken("/pictures/bad.jpg", "truncated", "ends after 12 bytes")
    return made


def pages_of(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def files_of(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_summary_counts(collection: Collection, tmp_path: Path) -> None:
    summary = write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    assert summary == PagesSummary(people=2, faces=7, photos=5, unclustered=1, errors=1, pages=5)
    assert len(pages_of(tmp_path / "site")) == 5


def test_index_shows_people_by_number_of_photos(collection: Collection, tmp_path: Path) -> None:
    write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    page = Parsed(tmp_path / "site" / "index.html")
    cards = [a["href"] for a in page.all("a") if a.get("class") == "card"]
    assert cards == ["people/anna.html", "people/bert.html"]
    assert "Person 1 3 photos 2019 – 2021 Person 2 1 photo May 2021" in page.words
    assert "7 faces in 4 photos; 1 photo without a face." in page.words


def test_person_page_is_in_time_order_with_duplicates_once(collection: Collection, tmp_path: Path) -> None:
    write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    page = Parsed(tmp_path / "site" / "people" / "anna.html")
    assert [a["src"][-6:-4] for a in page.all("img") if "/photos/" in a["src"]] == ["03", "01", "00"]
    assert page.words.count("2 copies") == 1
    assert page.words.index("2019") < page.words.index("2021") < page.words.index("Undated")
    assert "1 May 2021, 09:30 Canon" in page.words
    assert any(a.get("alt") == "Person 1 and Person 2 in a.jpg" for a in page.all("img"))


def test_a_date_that_only_tags_say_counts(tmp_path: Path) -> None:
    made = Collection()
    own, said = datetime(2001, 5, 1), datetime(2002, 6, 2)
    first, second = (made.photo(f"/p/{i}.jpg", ["anna"], taken_at=when) for i, when in enumerate((None, own)))
    source = made.source(tmp_path / "L")
    rows = [{"image_id": image, "taken_at": said} for image in (first, second)]
    tags.write(source.library, pa.Table.from_pylist(rows, tags.SCHEMA), tags.READ.empty_table())
    [person] = album.load_album(source).people
    assert [(photo.image_id, photo.taken_at) for photo in person.photos] == [(second, own), (first, said)]


def test_person_page_marks_the_face_and_links_companions(collection: Collection, tmp_path: Path) -> None:
    write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    page = Parsed(tmp_path / "site" / "people" / "bert.html")
    [svg] = page.all("svg")
    assert svg["viewbox"] == "0 0 1200 800"
    [mine] = [a for a in page.all("rect") if a.get("class") == "me"]
    assert (mine["x"], mine["y"], mine["width"], mine["height"]) == ("350.0", "150.0", "200.0", "200.0")
    assert [a["href"] for a in page.all("a")].count("anna.html") == 3  # the face, "with Person 1", previous person


def test_originals_are_linked_percent_encoded_where_they_exist(collection: Collection, tmp_path: Path) -> None:
    collection.photo(tmp_path / "gone.jpg", ["carl"])
    collection.photo(f"{tmp_path}/x.parquet#row=7", ["carl"])
    collection.photo("s3://bucket/key/c.jpg", ["carl"])
    (tmp_path / "x.parquet").write_bytes(b"")
    write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    links = {unquote(urlsplit(a["href"]).path) for a in Parsed(tmp_path / "site/people/anna.html").all("a")}
    assert {str(tmp_path / "my photos" / name) for name in ("b.jpg", "a.jpg", "100% ünï#1?.jpg")} <= links
    carl = Parsed(tmp_path / "site" / "people" / "carl.html")
    assert not [a for a in carl.all("a") if a["href"].startswith(("file:", "s3:"))]
    assert "x.parquet, row 7" in carl.words
    assert "c.jpg" in carl.words


def test_links_resolve_and_pages_are_well_formed(collection: Collection, tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_pages(collection.source(tmp_path / "library"), site)
    for path in pages_of(site):
        page = Parsed(path)
        ids = [a["id"] for _, a in page.elements if "id" in a]
        assert len(ids) == len(set(ids))
        assert len(page.all("h1")) == len(page.all("main")) == 1
        assert not [a for _, a in page.elements if "style" in a or any(name.startswith("on") for name in a)]
        for image in page.all("img"):
            assert {"alt", "width", "height"} <= image.keys()
        for target in [a["href"] for a in page.all("a") + page.all("link")] + [
            a["src"] for a in page.all("img") + page.all("script")
        ]:
            url = urlsplit(urljoin(path.as_uri(), target))
            assert url.scheme == "file"
            assert Path(unquote(url.path)).is_file(), target
            if url.fragment and url.path == path.as_posix():
                assert url.fragment in ids


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_original_round_trips_any_file_name(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if name in (".", ".."):
        return
    path = tmp_path_factory.getbasetemp() / "names" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    link = words.original(str(path))
    assert link is not None
    assert link.isascii()
    assert Path(unquote(urlsplit(link).path)) == path
    assert words.original(link) == link
    assert all(c.isprintable() or category(c) == "Zs" for c in words.file_name(str(path)))  # Zs: spaces
    path.unlink()


HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "\"><script>alert(1)</script>'.jpg",
    "line\nbreak\u202egpj.exe",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    made = Collection()
    for name in HOSTILE:
        made.photo(f"/photos/{name}", ["anna"], camera=name)
        made.photo(f"/photos/{name}", [None])
        made.broken(name, name, name)
    write_pages(made.source(tmp_path / "library"), tmp_path / "site")
    for path in pages_of(tmp_path / "site"):
        page = Parsed(path)
        assert [a["src"] for a in page.all("script")] == [
            ("../" if path.parent.name == "people" else "") + "static/people.js"
        ]
        assert not [a for a in page.all("img") if a["src"] == "x" or "onerror" in a]
        assert not [a for a in page.all("a") if a["href"].startswith("javascript")]
        assert "default-src 'none'" in page.all("meta")[1]["content"]
    anna = Parsed(tmp_path / "site" / "people" / "anna.html").text
    assert "line\\nbreak\\u202egpj.exe" in anna
    assert all(name in anna for name in (HOSTILE[0], HOSTILE[1], "{{ 7 * 7 }}{% raw %}"))


def test_ids_that_lead_out_of_the_site_are_refused(tmp_path: Path) -> None:
    made = Collection()
    made.photo("/a.jpg", ["../../evil"])
    with pytest.raises(MusterError, match="damaged"):
        write_pages(made.source(tmp_path / "library"), tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_errors_of_images_and_of_tasks(collection: Collection, tmp_path: Path) -> None:
    bad = collection.images[-1]["image_id"]
    good = collection.images[0]["image_id"]
    told_twice = {"image_id": bad, "task": "faces", "error_kind": "truncated", "error": "ends after 12 bytes"}
    own = {"image_id": good, "task": "faces", "error_kind": "failed", "error": "no luck"}
    collection.errors = [told_twice, own]
    summary = write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    assert summary.errors == 2
    page = Parsed(tmp_path / "site" / "errors.html").words
    assert "b.jpg " in page
    assert "failed no luck faces" in page
    assert "truncated ends after 12 bytes images" in page


def test_photo_without_preview_shows_the_face(tmp_path: Path) -> None:
    made = Collection()
    made.photo("/a.jpg", ["anna"], preview=False)
    write_pages(made.source(tmp_path / "library"), tmp_path / "site")
    page = Parsed(tmp_path / "site" / "people" / "anna.html")
    assert not page.all("svg")
    assert all("/faces/" in a["src"] for a in page.all("img")[1:])


def test_run_again_removes_who_is_gone_and_nothing_else(collection: Collection, tmp_path: Path) -> None:
    site = tmp_path / "site"
    source = collection.source(tmp_path / "library")
    write_pages(source, site)
    before = files_of(site)
    for path in (site / "notes.txt", site / "people" / "mine.html", site / "faces" / "00" / "mine.jpg"):
        path.write_text("the user's own")
    kept = (site / "faces/00" / f"{0:040x}.jpg").stat().st_ino
    no_bert = [row for row in collection.clusters if row["cluster_id"] != "bert"]
    write_pages(replace(source, clusters=pa.Table.from_pylist(no_bert, CLUSTERS)), site)
    assert not (site / "people" / "bert.html").exists()
    assert (site / "people" / "mine.html").exists()
    assert (site / "faces" / "00" / "mine.jpg").exists()
    assert (site / "faces/00" / f"{0:040x}.jpg").stat().st_ino == kept
    write_pages(replace(source, shards=[]), site)
    assert {n for n in files_of(site) if n.endswith(".jpg")} == {"faces/00/mine.jpg"}
    for name in ("notes.txt", "people/mine.html", "faces/00/mine.jpg"):
        (site / name).unlink()
    write_pages(source, site)
    assert files_of(site) == before


def test_pictures_of_another_version_are_written_again(collection: Collection, tmp_path: Path) -> None:
    source = collection.source(tmp_path / "library")
    write_pages(source, tmp_path / "site")
    picture = tmp_path / "site/faces/00" / f"{0:040x}.jpg"
    good = picture.read_bytes()
    picture.write_bytes(b"of an older version")
    write_pages(source, tmp_path / "site")
    assert picture.read_bytes() == b"of an older version"
    newer = {**FINGERPRINTS, "images": "9" * 16}
    part = tables.read(source.library, "images", FINGERPRINTS["images"])
    tables.write_shard(source.library, "9" * 16, source.shards[0], {"images": part})
    write_pages(replace(source, fingerprints=newer), tmp_path / "site")
    assert picture.read_bytes() == good


def test_interrupted_run_leaves_files_the_next_one_knows(collection: Collection, tmp_path: Path) -> None:
    site = tmp_path / "site"
    source = collection.source(tmp_path / "library")
    [previews] = (tmp_path / "library" / "previews").rglob("*.parquet")
    previews.rename(tmp_path / "elsewhere")
    with pytest.raises(MusterError, match="missing or damaged"):
        write_pages(source, site)
    assert list(site.rglob("*.jpg"))
    write_pages(replace(source, shards=[]), site)
    assert not list(site.rglob("*.jpg"))


def test_what_stands_in_the_way_is_named(collection: Collection, tmp_path: Path) -> None:
    source = collection.source(tmp_path / "library")
    write_pages(source, tmp_path / "site")
    (tmp_path / "site" / "index.html").unlink()
    (tmp_path / "site" / "index.html").mkdir()
    with pytest.raises(MusterError, match=r"cannot write pages to .*site: Is a directory"):
        write_pages(source, tmp_path / "site")


def test_folders_that_are_not_ours_are_refused(collection: Collection, tmp_path: Path) -> None:
    source = collection.source(tmp_path / "library")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        write_pages(source, tmp_path / "full")
    with pytest.raises(InputError, match="is a file"):
        write_pages(source, tmp_path / "full" / "thesis.doc")
    with pytest.raises(MusterError, match="cannot write pages"):
        write_pages(source, tmp_path / "full" / "thesis.doc" / "site")
    assert files_of(tmp_path / "full") == {"thesis.doc": b"years of work"}


@pytest.mark.parametrize("files", ["not json", "[]", '{"files": ["../../thesis.doc"]}', '{"files": ["/etc/passwd"]}'])
def test_damaged_marker_is_refused(files: str, collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "muster-pages.json").write_text(files)
    with pytest.raises(InputError, match="damaged"):
        write_pages(collection.source(tmp_path / "library"), tmp_path / "site")


def test_shards_that_have_not_run_yet_are_left_out(collection: Collection, tmp_path: Path) -> None:
    source = collection.source(tmp_path / "library", shard_size=2)
    write_pages(source, tmp_path / "whole")
    whole = files_of(tmp_path / "whole")
    write_pages(replace(source, shards=[*source.shards, "never ran"]), tmp_path / "more")
    assert files_of(tmp_path / "more") == whole
    summary = write_pages(replace(source, shards=["never ran"]), tmp_path / "none")
    assert summary == PagesSummary(people=0, faces=0, photos=0, unclustered=0, errors=0, pages=3)
    assert "No people yet." in Parsed(tmp_path / "none" / "index.html").words


def test_pages_are_split(tmp_path: Path) -> None:
    made = Collection()
    for n in range(401):
        made.photo(f"/{n:03}.jpg", ["anna", None])
    for n in range(400):
        made.photo(f"/other-{n}.jpg", [f"p{n}"])
    write_pages(made.source(tmp_path / "library"), tmp_path / "site")
    names = {path.relative_to(tmp_path / "site").as_posix() for path in pages_of(tmp_path / "site")}
    assert {"index.html", "index-2.html", "index-3.html", "unclustered-2.html"} <= names
    assert {"people/anna.html", "people/anna.2.html", "people/anna.3.html"} <= names
    third = Parsed(tmp_path / "site" / "people" / "anna.3.html")
    assert sum("/photos/" in a["src"] for a in third.all("img")) == 1
    assert {"anna.html", "anna.2.html"} <= {a["href"] for a in third.all("a")}
    assert all((tmp_path / "site" / "people" / f"p{n}.html").is_file() for n in range(400))
    last = Parsed(tmp_path / "site" / "people" / "p99.html")
    assert any(a["href"].startswith(("../index-2.html#c-p99", "../index-3.html#c-p99")) for a in last.all("a"))


@given(st.integers(1, 300).flatmap(lambda total: st.tuples(st.integers(1, total), st.just(total))))
def test_window_of_page_numbers(at: tuple[int, int]) -> None:
    number, total = at
    shown = list(_window(number, total))
    numbers = [n for n in shown if n is not None]
    assert numbers == sorted(set(numbers))
    assert {1, number, total} <= set(numbers)
    assert len(shown) <= 9
    for before, gap, after in zip(shown, shown[1:], shown[2:], strict=False):
        if gap is None:
            assert after - before > 1


@given(st.lists(st.datetimes(), min_size=1))
def test_span_names_the_years(dates: list[datetime]) -> None:
    text = words.span(dates)
    assert str(max(dates).year) in text
    assert str(min(dates).year) in text
    assert words.span(dates[::-1]) == text


def test_filters_are_of_what_photos_of_people_show(tmp_path: Path) -> None:
    made = Collection()
    made.photo("/a.jpg", ["anna"], shows=["person", "dog", "dog", "night"], sha256="same")
    made.photo("/copy of a.jpg", ["anna"], shows=["person", "dog", "dog", "night"], sha256="same")
    made.photo("/b.jpg", ["anna", "bert"], shows=["<b>", "dog"])
    made.photo("/c.jpg", ["carl"], shows=["person"])
    made.photo("/d.jpg", [None], shows=["cat"])
    source = made.source(tmp_path / "library")
    write_pages(source, tmp_path / "site")
    chips = {}
    for name in ("index", "people/anna", "people/bert", "people/carl"):
        page = Parsed(tmp_path / "site" / f"{name}.html")
        chips[name] = re.findall(r'<button class="chip".*?>(.*?) <', (tmp_path / "site" / f"{name}.html").read_text())
        assert len(page.all("script")) == (2 if chips[name] else 1)
    every = ["with a dog", "at night", "with a &lt;b&gt;"]
    assert chips == {"index": every, "people/anna": every, "people/bert": [every[2], every[0]], "people/carl": []}
    assert "with a dog 2 at night 1 with a <b> 1" in Parsed(tmp_path / "site" / "index.html").words
    picture = next((tmp_path / "site" / "faces").rglob("*.jpg")).stat()
    write_pages(replace(source, labels=()), tmp_path / "site")
    assert "filters" not in (tmp_path / "site" / "index.html").read_text()
    assert next((tmp_path / "site" / "faces").rglob("*.jpg")).stat().st_ino == picture.st_ino


def test_filters_are_of_finds_that_are_sure_enough(tmp_path: Path) -> None:
    made = Collection()
    for photo, (label, score) in enumerate([("dog", 0.7), ("dog", 0.8), ("cat", 0.9), ("boat", 0.9), ("night", None)]):
        made.photo(f"/{photo}.jpg", ["anna"], shows=[label])
        (made.scenes if label == "night" else made.objects)[-1]["score"] = score
    source = made.source(tmp_path / "library")
    objects, scenes = source.labels
    sure = replace(objects, least_scores={"dog": 0.75, "cat": 0.95, "person": 0})
    write_pages(replace(source, labels=[sure, scenes]), tmp_path / "site")
    shown = re.findall(r'class="chip".*?>(.*?) <span class="tally">(.*?)<', (tmp_path / "site/index.html").read_text())
    assert shown == [("at night", "1"), ("with a dog", "1")]


def test_night_counts_where_the_clock_says_it(tmp_path: Path) -> None:
    made = Collection()
    for label, told_by in [("night", "pixels"), ("night", "exif"), ("night", "both"), ("day", "pixels")]:
        made.photo(f"/{label}-{told_by}.jpg", ["anna"], shows=[label])
        made.scenes[-1]["source"] = told_by
    write_pages(made.source(tmp_path / "library"), tmp_path / "site")
    shown = re.findall(r'class="chip".*?>(.*?) <span class="tally">(.*?)<', (tmp_path / "site/index.html").read_text())
    assert shown == [("at night", "2"), ("by day", "1")]


@dataclass(frozen=True)
class Rows(PagesSource):
    """One shard of `objects`, without a library."""

    objects: pa.Table = None

    def parts(self, table, columns, fingerprint=None):
        yield self.objects.select(columns)


@given(
    st.lists(st.tuples(*map(st.sampled_from, ("ab", ("cat", "dog", "cow"), (None, 0.0, 0.25, 0.5, 0.75))))),
    st.dictionaries(st.sampled_from(("cat", "dog")), st.sampled_from((0.25, 0.5, 0.75))),
)
def test_a_photo_shows_what_its_best_find_is_enough_for(rows: list[tuple], least: dict[str, float]) -> None:
    objects = _table([dict(zip(LABELS.names, row, strict=False)) for row in rows], LABELS, {"a", "b"})
    table = LabelTable(table="objects", fingerprint="", score="score", least_scores=least)
    source = Rows(None, [], {}, None, {}, [table], objects=objects)
    best: dict[tuple[str, str], float] = {}
    for image_id, label, score in rows:
        best[image_id, label] = max(score or 0, best.get((image_id, label), 0))
    expected = {pair for pair, score in best.items() if pair[1] in least and score >= least[pair[1]]}
    assert set(album._shown(source, table)) == expected
    assert set(album._shown(source, replace(table, least_scores=None))) == best.keys()


@pytest.mark.parametrize(
    ("table", "label", "phrase"),
    [
        ("objects", "dog", "with a dog"),
        ("objects", "umbrella", "with an umbrella"),
        ("objects", "hot dog", "with a hot dog"),
        ("objects", "scissors", "with scissors"),
        ("objects", "tv", "with a TV"),
        ("scenes", "day", "by day"),
        ("scenes", "night", "at night"),
        ("scenes", "indoors", "indoors"),
    ],
)
def test_what_a_photo_shows_in_words(table: str, label: str, phrase: str) -> None:
    says = registry.find(table).findings
    assert words.phrase(label, says.placed, says.phrases) == phrase


def test_pages_say_how_sure_they_are(collection: Collection, tmp_path: Path) -> None:
    """Anna's four faces: one doubtful, one of which it is not known; Bert's: nothing is known."""
    source = collection.source(tmp_path / "library")
    write_pages(source, tmp_path / "old")  # clusters of a Muster that did not say
    column = pa.array([1.0, 0.99, None, 0.5, None, None, None], pa.float32())
    order = [0, 1, 3, 5, 2, 4, 6]  # Anna's faces first
    certain = pa.table({"place": order, "certainty": column}).sort_by("place")["certainty"]
    clusters = source.clusters.append_column("certainty", certain)
    assert clusters["cluster_id"].take(pa.array(order)).to_pylist() == ["anna"] * 4 + ["bert"] * 2 + [None]
    write_pages(replace(source, clusters=clusters), tmp_path / "site")
    page, index = (Parsed(tmp_path / "site" / name) for name in ("people/anna.html", "index.html"))
    assert "Person 1 3 photos 2019 – 2021 not sure Person 2 1 photo May 2021" in index.words
    assert "Not sure that this is one person: about 83 % of the faces are theirs." in page.words
    assert "1 face is doubtful and outlined with dashes: look at it." in page.words
    marks = [rect.get("class") for rect in page.all("rect")]
    assert (marks.count("me unsure"), marks.count("me")) == (1, 2)  # of a photo and its copy one is shown
    assert [each["title"] for each in page.all("li") if each.get("class") == "unsure"] == ["perhaps somebody else"]
    for site, name in (("site", "people/bert.html"), ("old", "people/anna.html"), ("old", "index.html")):
        words = Parsed(tmp_path / site / name).words
        assert not re.search(r"\bsure\b|doubtful", words)


@pytest.mark.parametrize(
    ("certainties", "share", "doubtful"),
    [([], None, 0), ([None, None], None, 0), ([1.0, None, 0.5], 0.75, 1), ([0.9, 0.899], 0.8995, 1), ([0.0], 0.0, 1)],
)
def test_how_certain_a_person_is(certainties: list[float | None], share: float | None, doubtful: int) -> None:
    faces = [album.Face(str(n), "i", (0, 0, 1, 1), 1, "c", value) for n, value in enumerate(certainties)]
    person = album.Person("c", 1, [], faces)
    assert person.certainty == (None if share is None else pytest.approx(share))
    assert len(person.doubtful) == doubtful
    assert all(face.doubtful for face in person.doubtful)


def test_marker_is_small_and_says_what_it_is(collection: Collection, tmp_path: Path) -> None:
    write_pages(collection.source(tmp_path / "library"), tmp_path / "site")
    marker = json.loads((tmp_path / "site" / "muster-pages.json").read_text())
    assert "muster people" in marker["note"]
    assert set(marker["files"]) == files_of(tmp_path / "site").keys() - {"muster-pages.json"}
    assert not [name for name in os.listdir(tmp_path / "site") if name.startswith(".")]


def test_two_writers_do_not_meet_in_one_file(tmp_path: Path) -> None:
    contents = [bytes([n]) * 200_000 for n in range(2)]

    sites = [Site(tmp_path, {}), Site(tmp_path, {})]

    def write(data: bytes) -> None:
        for n in range(100):
            sites[data[0]].write(f"{data[0]}-{n}.jpg", data)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, contents))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        f"{data[0]}-{n}.jpg": data for data in contents for n in range(100)
    }


def test_what_a_writer_left_half_written_is_cleared(collection: Collection, tmp_path: Path) -> None:
    site, source = tmp_path / "site", collection.source(tmp_path / "library")
    write_pages(source, site)
    before = files_of(site)
    (site / f".muster-pages.{'0' * 32}.tmp").write_bytes(b"half a pict")
    write_pages(source, site)
    assert files_of(site) == before


def test_a_scan_passes_over_the_pages(collection: Collection, tmp_path: Path) -> None:
    source = collection.source(tmp_path / "library")
    write_pages(source, tmp_path / "photos" / "site")
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    files = list_files(locate(str(tmp_path / "photos")), source.library).files
    assert [file.uri for file in files] == [str(tmp_path / "photos" / "a.jpg")]


# ---- what is said of people ------------------------------------------------------------------------------------------

NASTY = "<script>alert(1)</script> & \"'"


def told(collection: Collection, folder: Path, *edits) -> PagesSource:
    """Pages of a collection of whose people something is said; photos are known by their place in it."""
    source = collection.source(folder)
    ok = [image for image in collection.images if image["status"] == "ok"]
    columns = {name: [image[name] for image in ok] for name in ("image_id", "sha256", "width", "height")}
    images = pa.table(columns).append_column("phash", pa.array([None] * len(ok), pa.int64()))
    images = images.append_column("uri", pa.array([collection.uris[image["image_id"]] for image in ok]))
    faces = pa.Table.from_pylist(collection.faces, FACES)
    clusters = source.clusters.append_column("certainty", pa.array([0.9] * faces.num_rows, pa.float32()))
    return replace(source, people=view(clusters, faces, images, said(*edits)))


def photo_of(collection: Collection, number: int) -> PhotoRef:
    return PhotoRef(collection.images[number]["sha256"])


@pytest.fixture
def family() -> Collection:
    """Three people of 3, 2 and 1 photos."""
    made = Collection()
    for number in range(3):
        made.photo(f"/p/{number}.jpg", [letter * 12 for letter in "abc"[: 3 - number]])
    return made


def test_names_stand_for_numbers_and_harm_nobody(family: Collection, tmp_path: Path) -> None:
    names = [facts.Named("a" * 12, NASTY), facts.Named("b" * 12, "أحمد")]
    summary = write_pages(told(family, tmp_path / "L", names), tmp_path / "site")
    assert (summary.people, summary.named, summary.hidden) == (3, 2, 0)
    for path in pages_of(tmp_path / "site"):
        assert "<script>alert" not in path.read_text()
    index = Parsed(tmp_path / "site/index.html")
    assert NASTY in index.words
    assert "Person 3" in index.words
    assert "Person 1" not in index.words
    assert "<bdi>أحمد</bdi>" in (tmp_path / "site/index.html").read_text()
    person = Parsed(tmp_path / "site/people" / f"{'a' * 12}.html")
    assert any(a.get("alt", "").startswith(f"{NASTY} and ") for a in person.all("img"))
    assert "with أحمد" in person.words


def test_who_is_hidden_is_on_no_page_and_counted(family: Collection, tmp_path: Path) -> None:
    summary = write_pages(told(family, tmp_path / "L", [facts.Hidden("b" * 12)]), tmp_path / "site")
    assert (summary.people, summary.hidden, summary.unclustered) == (2, 1, 0)
    assert not (tmp_path / "site/people" / f"{'b' * 12}.html").exists()
    index = Parsed(tmp_path / "site/index.html")
    assert "1 person is hidden." in index.words
    assert "Person 1" in index.words
    assert "Person 3" in index.words  # a number stays
    for path in pages_of(tmp_path / "site"):
        assert "b" * 12 not in path.read_text()
        assert "Person 2" not in path.read_text()


def test_a_former_address_leads_to_the_person(family: Collection, tmp_path: Path) -> None:
    edits = [facts.Same("b" * 12, "a" * 12), facts.Named("b" * 12, "Bea")]
    write_pages(told(family, tmp_path / "L", edits), tmp_path / "site")
    moved = Parsed(tmp_path / "site/people" / f"{'a' * 12}.html")
    assert [a["content"] for a in moved.all("meta") if a.get("http-equiv") == "refresh"] == [f"0; url={'b' * 12}.html"]
    assert "Bea" in moved.words
    assert "Bea" in Parsed(tmp_path / "site/people" / f"{'b' * 12}.html").words


def test_the_cover_stands_for_a_person(family: Collection, tmp_path: Path) -> None:
    last = FaceRef(photo_of(family, 2), tuple(family.faces[-1]["box_xyxy"]))
    write_pages(told(family, tmp_path / "L", [facts.Cover("a" * 12, last)]), tmp_path / "site")
    crops = [
        a["src"] for a in Parsed(tmp_path / "site/people" / f"{'a' * 12}.html").all("img") if a.get("width") == "128"
    ]
    assert family.faces[-1]["face_id"] in crops[0]


def test_a_face_that_was_drawn_has_a_picture_of_its_own(family: Collection, tmp_path: Path) -> None:
    box = (700.0, 400.0, 900.0, 600.0)
    face = FaceRef(photo_of(family, 2), box)
    source = told(family, tmp_path / "L", [facts.Missed(face), facts.Is("c" * 12, (face,))])
    write_pages(source, tmp_path / "site")
    page = Parsed(tmp_path / "site/people" / f"{'c' * 12}.html")
    drawn = {a["src"] for a in page.all("img") if "-u" in a["src"]}
    assert drawn
    assert all((tmp_path / "site/people" / src).resolve().is_file() for src in drawn)
    assert [a["x"] for a in page.all("rect") if a.get("class") == "me"].count("700.0") == 1


def test_all_links_resolve_though_people_moved_and_hid(family: Collection, tmp_path: Path) -> None:
    edits = [facts.Same("b" * 12, "a" * 12), facts.Hidden("c" * 12)]
    write_pages(told(family, tmp_path / "L", edits), tmp_path / "site")
    for path in pages_of(tmp_path / "site"):
        for target in [a["href"] for a in Parsed(path).all("a")]:
            assert Path(unquote(urlsplit(urljoin(path.as_uri(), target)).path)).is_file(), (path, target)
