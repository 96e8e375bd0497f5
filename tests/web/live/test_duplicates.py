from pathlib import Path

import pyarrow as pa
import pytest

from helpers.originals import Browser, Originals, picture
from muster.storage import duplicates
from muster.web.duplicates import GROUPS_PER_PAGE


def row(group: int, image_id: str, best: bool = False, kind: str = "picture") -> dict[str, object]:
    facts = {"reason": "largest" if best else None, "exact": best, "orientation": 1, "likeness": 1.0}
    return {"kind": kind, "group": group, "image_id": image_id, "best": best, "format": "jpeg", "size": 2048, **facts}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    made = Originals(tmp_path_factory.mktemp("duplicates") / "photos")
    for n in range(4):
        made.photo(f"{n}<script>.jpg", picture((60 + n, 40)))
    return made


@pytest.fixture(scope="module")
def browser(made: Originals) -> Browser:
    return Browser(made.source())


def found(made: Originals, rows: list[dict[str, object]]) -> None:
    duplicates.write(made.library, pa.Table.from_pylist(rows, duplicates.SCHEMA))


def test_before_anybody_has_looked_the_page_says_how(browser: Browser, made: Originals) -> None:
    (Path(made.library.path) / "duplicates/duplicates.parquet").unlink(missing_ok=True)
    answer = browser.get("/duplicates.html")
    assert answer.status_code == 200
    assert "Nobody has looked yet: <kbd>muster duplicates</kbd>" in answer.text
    assert 'href="/duplicates.html"' in browser.get("/index.html").text


def test_groups_of_both_kinds(browser: Browser, made: Originals) -> None:
    names = [made.ids[f"{n}<script>.jpg"] for n in range(4)]
    rows = [row(1, names[0], True), row(1, names[1]), row(1, names[2], True, "moment"), row(1, names[3], kind="moment")]
    found(made, rows)
    text = browser.get("/duplicates.html").text
    assert "1 picture with copies" in text
    assert "Keep: largest" in text
    assert f"/photos/{names[0][:2]}/{names[0]}.jpg" in text
    assert f"/photo/{names[0]}.html" in text
    assert names[2] not in text
    assert "<script>.jpg" not in text
    moments = browser.get("/moments.html").text
    assert names[2] in moments
    assert names[0] not in moments


def test_a_photo_that_was_forgotten_is_not_shown(browser: Browser, made: Originals) -> None:
    names = [made.ids[f"{n}<script>.jpg"] for n in range(3)]
    found(made, [row(1, names[0], True), row(1, names[1]), row(1, "f" * 40), row(2, names[2], True), row(2, "f" * 40)])
    text = browser.get("/duplicates.html").text
    assert "1 picture with copies" in text
    assert "f" * 40 not in text


def test_pages_that_are_not_there(browser: Browser, made: Originals) -> None:
    names = [made.ids[f"{n}<script>.jpg"] for n in range(2)]
    found(made, [row(n, names[k], k == 0) for n in range(GROUPS_PER_PAGE + 1) for k in range(2)])
    assert "Keep: largest" in browser.get("/duplicates-2.html").text
    assert browser.get("/duplicates-3.html").status_code == 404
    assert browser.get("/moments-2.html").status_code == 404
