import asyncio
import io
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.originals import Browser, Originals, picture, turned
from muster.storage import files, layout, manifest
from muster.storage.files import open_regular
from muster.storage.photos import shown
from muster.storage.tables import to_parquet

SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.fixture
def made(tmp_path: Path) -> Originals:
    return Originals(tmp_path / "photos")


def test_what_browsers_show_is_sent_byte_for_byte(made: Originals) -> None:
    files = {f"{kind}.x.jpg": picture(kind=kind.upper()) for kind in ("png", "webp", "gif", "avif")}
    files["jpeg.x.jpg"] = turned(6)
    for name, data in files.items():
        made.photo(name, data)
    browser = Browser(made.source())
    for name, data in files.items():
        answer = browser.get(f"/original/{made.ids[name]}")
        assert answer.content == data
        assert answer.headers["content-length"] == str(len(data))
        assert answer.headers["content-type"] == f"image/{name.split('.')[0]}"


def test_what_they_do_not_show_comes_upright_as_a_jpeg(made: Originals) -> None:
    made.photo("a.heic", picture(kind="HEIF"))
    made.photo("b.tif", picture(kind="TIFF"))
    made.photo("c.jpg", picture(mode="CMYK"))
    made.photo("d.png", turned(6, kind="PNG"))
    browser = Browser(made.source())
    for name in ("a.heic", "b.tif", "c.jpg", "d.png"):
        answer = browser.get(f"/original/{made.ids[name]}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        found = Image.open(io.BytesIO(answer.content))
        assert (found.size, found.mode) == ((80, 120) if name == "d.png" else (120, 80), "RGB")
        assert answer.headers["content-disposition"].startswith("inline;")


def test_nothing_in_a_file_can_run(made: Originals) -> None:
    """Photos when they were scanned, and something else now."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        made.photo(name)
    browser = Browser(made.source())
    comment = b"\xff\xfe" + (2 + len(HTML)).to_bytes(2, "big") + HTML
    for name, data in {"a.jpg": SCRIPT, "b.jpg": HTML, "c.jpg": picture()[:2] + comment + picture()[2:]}.items():
        (made.folder / name).write_bytes(data)
    answers = {name: browser.get(f"/original/{image_id}") for name, image_id in made.ids.items()}
    assert [answers[name].status_code for name in ("a.jpg", "b.jpg", "c.jpg")] == [415, 415, 200]
    for answer in answers.values():
        assert answer.headers["content-type"].split(";")[0] in ("text/plain", "image/jpeg")
        assert b"<script" not in answer.content or answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert policy.endswith("; sandbox")
        assert "script" not in policy


@pytest.mark.parametrize(
    "asked",
    [
        "../../etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%2Fetc%2Fpasswd",
        "file:///etc/passwd",
        "",
        "x" * 5000,
        "a%00b",
    ],
)
def test_no_path_comes_from_the_browser(asked: str, made: Originals) -> None:
    made.photo("a.jpg")
    answer = Browser(made.source()).get(f"/original/{asked}")
    assert answer.status_code == 404
    assert b"root:" not in answer.content


def test_what_is_gone_says_so(made: Originals) -> None:
    path = made.photo("a.jpg")
    browser = Browser(made.source())
    address = f"/original/{made.ids['a.jpg']}"
    path.unlink()
    answer = browser.get(address)
    assert answer.status_code == 404
    assert "not there any more" in answer.text
    path.mkdir()
    assert browser.get(address).status_code == 404
    path.rmdir()
    os.mkfifo(path)
    assert browser.get(address).status_code == 404, "and nobody waits for the other end of a pipe"


def test_what_is_forgotten_is_not_shown_though_its_page_is_open(made: Originals) -> None:
    made.photo("a.jpg")
    made.photo("b.jpg", picture((60, 60)))
    browser = Browser(made.source())
    assert browser.get(f"/original/{made.ids['a.jpg']}").status_code == 200
    manifest.forget(made.library, [made.ids["a.jpg"]])
    assert browser.get(f"/original/{made.ids['a.jpg']}").status_code == 404


def test_a_link_that_came_in_place_of_a_photo_is_not_followed(made: Originals, tmp_path: Path) -> None:
    path = made.photo("a.jpg")
    secret, same = tmp_path / "secret.jpg", tmp_path / "same.jpg"
    secret.write_bytes(picture((10, 10)))
    same.write_bytes(picture())
    browser = Browser(made.source())
    path.unlink()
    path.symlink_to(secret)
    answer = browser.get(f"/original/{made.ids['a.jpg']}")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (502, "text/plain")
    assert "link" in answer.text
    path.unlink()
    path.symlink_to(same)
    assert browser.get(f"/original/{made.ids['a.jpg']}").content == picture(), "the very photo may lie elsewhere"


def test_a_photo_that_was_edited_since_is_shown_as_it_is_now(made: Originals) -> None:
    path = made.photo("a.jpg")
    browser = Browser(made.source())
    path.write_bytes(picture((30, 30)))
    assert browser.get(f"/original/{made.ids['a.jpg']}").content == picture((30, 30))


@pytest.mark.parametrize("name", ["x.jpg", 'a"b\n.jpg', "Größe 東京.jpg", "\u202egnp.jpg", "a;filename=evil.html.jpg"])
def test_any_name_of_a_file_is_one_header(name: str, made: Originals) -> None:
    made.photo(name)
    answer = Browser(made.source()).get(f"/original/{made.ids[name]}")
    said = answer.headers["content-disposition"]
    assert said.isascii()
    assert said.count(";") == 1
    assert said.count('"') == 0
    assert "\n" not in said


def test_an_image_within_a_parquet_file_is_shown_too(made: Originals, tmp_path: Path) -> None:
    made.photo("plain.jpg")
    browser = Browser(made.source())
    inline = tmp_path / "inline.parquet"
    pq.write_table(pa.table({"image": [picture((50, 40)), picture((40, 50), "TIFF")]}), inline)
    library, [(shard, _)] = made.library, manifest.shards(made.library)
    rows = manifest.read_shard(library, shard)
    named = rows.set_column(rows.column_names.index("uri"), "uri", pa.array([f"{inline}#row=1"]))
    library.write(layout.manifest_shard(shard), to_parquet(named))
    answer = browser.get(f"/original/{made.ids['plain.jpg']}")
    assert Image.open(io.BytesIO(answer.content)).size == (40, 50)


def test_what_was_decoded_is_kept(made: Originals, monkeypatch: pytest.MonkeyPatch) -> None:
    made.photo("a.tif", picture(kind="TIFF"))
    browser = Browser(made.source())
    address = f"/original/{made.ids['a.tif']}"
    first = browser.get(address).content
    monkeypatch.setattr(shown, "as_jpeg", lambda data: pytest.fail("decoded again"))
    assert browser.get(address).content == first


def test_one_that_takes_too_long_is_given_up(made: Originals, monkeypatch: pytest.MonkeyPatch) -> None:
    made.photo("a.tif", picture(kind="TIFF"))
    browser, end = Browser(made.source()), threading.Event()
    monkeypatch.setattr("muster.web.live.originals.SECONDS", 0.05)
    monkeypatch.setattr(shown, "as_jpeg", lambda data: end.wait(10) and b"")
    answer = browser.get(f"/original/{made.ids['a.tif']}")
    end.set()
    assert answer.status_code == 504


def test_a_file_is_closed_though_nobody_waited_for_it(made: Originals, monkeypatch: pytest.MonkeyPatch) -> None:
    made.photo("a.jpg")
    browser, opened = Browser(made.source()), []
    monkeypatch.setattr(files, "open_regular", lambda *given: opened.append(open_regular(*given)) or opened[-1])
    gone: list[dict[str, object]] = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, object]:
        return gone.pop(0) if gone else await asyncio.sleep(10, {})

    async def send(message: object) -> None:
        await asyncio.sleep(10)

    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    headers = [(b"host", b"127.0.0.1:8000"), (b"cookie", cookie.encode())]
    path = f"/original/{made.ids['a.jpg']}"
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("::1", 9),
    }
    asyncio.run(browser.app(scope, receive, send))
    assert [file.closed for file in opened] == [True]


def test_phones_photos(data: Path, made: Originals) -> None:
    for name in ("formats/IMG_2682.heic", "orientation/Portrait_6.jpg"):
        made.photo(Path(name).name, (data / "photos" / name).read_bytes())
    browser = Browser(made.source())
    heic, jpeg = (browser.get(f"/original/{made.ids[name]}") for name in ("IMG_2682.heic", "Portrait_6.jpg"))
    assert Image.open(io.BytesIO(heic.content)).size == (4032, 3024)
    assert jpeg.content == (data / "photos/orientation/Portrait_6.jpg").read_bytes()
