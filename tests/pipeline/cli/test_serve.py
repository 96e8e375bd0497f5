import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.collection import FINGERPRINTS, Collection
from helpers.live import ANNA, source_of
from muster.pipeline.people import served
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, layout, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.web.live import serving

Muster = Callable[..., Any]


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    """With faces as a run describes them."""
    made = Collection()
    made.photo("/photos/a.jpg", [ANNA])
    source = source_of(made, tmp_path / "library")
    faces = tables.describe(source.library, TaskChoice(name="faces").description)
    names = {"images": IMAGES_FINGERPRINT, "faces": faces}
    for table, name in names.items():
        for shard in tables.committed(source.library, FINGERPRINTS[table]):
            rows = tables.read(source.library, table, FINGERPRINTS[table], None, [shard])
            tables.write_shard(source.library, name, shard, {table: rows})
    clusters.write(source.library, names["faces"], clusters.read(source.library, FINGERPRINTS["faces"]), "made")
    return source.library


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served: nothing is."""
    found: list[Any] = []
    monkeypatch.setattr(serving, "answer", lambda app, bound, ready: (found.append(app), ready(), bound.close()))
    return found


def test_it_prints_an_address_with_a_token(library: LibraryFiles, answered: list[Any], muster: Muster) -> None:
    outcome = muster("serve", "-l", library.uri, "--no-browser", "--json")
    assert outcome.code == 0
    facts = json.loads(outcome.out.splitlines()[-1])
    assert facts["url"].startswith(f"http://127.0.0.1:{facts['port']}/?token=")
    assert facts["others"] == []
    assert len(answered) == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ipv6_can_be_opened(library: LibraryFiles, answered: list[Any], muster: Muster) -> None:
    outcome = muster("serve", "-l", library.uri, "--no-browser", "--json", "--host", "::1")
    if outcome.code:
        pytest.skip("no IPv6 loopback here")
    assert json.loads(outcome.out.splitlines()[-1])["url"].startswith("http://[::1]:")


def test_a_deletion_that_was_cut_off_comes_first(library: LibraryFiles, answered: list[Any], muster: Muster) -> None:
    library.write(layout.FORGETTING, b"{")
    outcome = muster("serve", "-l", library.uri, "--no-browser")
    assert outcome.code
    assert "a deletion was cut off" in outcome.err
    assert answered == []


def test_a_port_that_is_taken_is_said(library: LibraryFiles, answered: list[Any], muster: Muster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = muster("serve", "-l", library.uri, "--no-browser", "--port", str(port))
    assert outcome.code == 2
    assert f"--port {port} is in use" in outcome.err
    assert answered == []


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_others_only_with_a_password(host: str, library: LibraryFiles, answered: list[Any], muster: Muster) -> None:
    outcome = muster("serve", "-l", library.uri, "--no-browser", "--host", host)
    assert outcome.code == 2
    assert "--share" in outcome.err
    assert answered == []


def test_the_password_comes_from_the_environment_or_a_file(
    library: LibraryFiles, answered: list[Any], muster: Muster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    share = ("serve", "-l", library.uri, "--no-browser", "--share", "--host", "127.0.0.1")
    assert "needs a password" in muster(*share).err
    monkeypatch.setenv("MUSTER_SERVE_PASSWORD", "short")
    assert muster(*share).code == 2
    monkeypatch.delenv("MUSTER_SERVE_PASSWORD")
    (tmp_path / "password").write_text("open sesame\n")
    monkeypatch.setenv("MUSTER_SERVE_PASSWORD_FILE", str(tmp_path / "password"))
    outcome = muster(*share)
    assert outcome.code == 0
    assert "others in this network: http://" in outcome.out
    assert "open sesame" not in outcome.out + outcome.err


def test_a_library_without_clusters_says_what_comes_first(tmp_path: Path, muster: Muster) -> None:
    assert "muster scan" in muster("serve", "-l", str(tmp_path / "none"), "--no-browser").err
    made = Collection()
    made.photo("/photos/a.jpg", [ANNA])
    outcome = muster("serve", "-l", source_of(made, tmp_path / "library").library.uri, "--no-browser")
    assert outcome.code == 2
    assert "muster run" in outcome.err


def test_the_faces_of_the_library_are_found_without_asking_a_task(library: LibraryFiles) -> None:
    assert served.live_source(library, None).fingerprints["faces"] == TaskChoice(name="faces").fingerprint


def test_the_api_serves_the_same_until_it_is_interrupted(library: LibraryFiles) -> None:
    code = f"""
import os, signal, threading, urllib.request, muster
def asked(url):
    jar = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    print("1 person" in jar.open(url).read().decode(), flush=True)
    os.kill(os.getpid(), signal.SIGINT)
try:
    muster.open({library.uri!r}).serve(on_ready=lambda url: threading.Thread(target=asked, args=(url,)).start())
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("True\ninterrupted\n", 0), done.stderr


def test_pandas_is_kept_from_pyarrow_and_from_nothing_else() -> None:
    """torch looks for it when a network is loaded, and fails where a finder refuses to say."""
    code = (
        "import sys, importlib.util; from muster.pipeline.cli.serve import _do_without_pandas; _do_without_pandas();"
        "import pyarrow as pa; pa.scalar('x').as_py();"
        "print('pandas' in sys.modules, importlib.util.find_spec('pandas') is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
