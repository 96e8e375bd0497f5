"""pipeline/usual.py: a library is not computed again with another model because nobody named the one it has."""

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import muster
from helpers.findings import commit, face, scanned
from helpers.fixtures import Outcome
from helpers.published_words import save
from helpers.runs import config_of
from muster.errors import InputError, MusterError
from muster.pipeline.evaluate import faces as evaluation
from muster.pipeline.findings.sources import chosen_source
from muster.pipeline.gallery import enroll
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.run import pending, record
from muster.pipeline.usual import ModelWarning, usual_model, with_usual_models
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest, tables
from muster.storage.layout import MODELS
from muster.storage.library import LibraryFiles, open_library

Muster = Callable[..., Outcome]
OWN, PUBLISHED = TaskChoice(name="faces", model="own"), TaskChoice(name="faces", model="published")


@pytest.fixture
def files(tmp_path: Path, make_photos: Callable[..., Path]) -> LibraryFiles:
    """A library of three photos, without rows of any task."""
    return scanned(tmp_path / "library", make_photos(tmp_path / "photos", range(3)))


def test_of_a_new_library_it_is_that_of_muster(files: LibraryFiles) -> None:
    assert usual_model(files, "faces") is None
    assert with_usual_models(files, config_of(files.uri, "faces")).choices == (TaskChoice(name="faces"),)


def test_without_a_note_it_is_that_of_the_rows(files: LibraryFiles) -> None:
    """As in libraries of before: nothing is computed anew, and new photos get the same."""
    commit(files, PUBLISHED.description, lambda i: [face(i)])
    config = with_usual_models(files, config_of(files.uri, "faces"))
    assert (config.choices, config.kept) == ((PUBLISHED,), ())
    assert pending(files, config.choices) == []
    assert faces_fingerprint(files, None) == PUBLISHED.fingerprint
    assert not files.has(MODELS)


def test_it_is_that_of_most_images_then_the_default(files: LibraryFiles, make_photos: Callable[..., Path]) -> None:
    commit(files, PUBLISHED.description)
    manifest.scan(files, [str(make_photos(Path(files.path).parent / "more", range(3, 10)))])
    images = [number for _, number in manifest.shards(files)]
    place = images.index(max(images))
    assert max(images) > 3
    commit(files, OWN.description, shards=slice(place, place + 1))
    assert usual_model(files, "faces") == "own"
    commit(files, PUBLISHED.description)
    assert usual_model(files, "faces") == "published"
    commit(files, OWN.description)
    assert usual_model(files, "faces") == "own"


def test_the_one_that_was_named_last_is_taken_by_all_that_name_none(files: LibraryFiles) -> None:
    for choice in (OWN, PUBLISHED):
        commit(files, choice.description, lambda i: [face(i)])
    library = muster.open(files.uri)
    assert library.model_of("faces") == "own"
    with pytest.warns(ModelWarning, match=r"has faces by own too: from now on published is what commands take"):
        assert library.run([muster.task("faces", model="published")]).processed == 0
    shards = dict(manifest.shards(files))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.run(["faces"]).processed == 0
        assert library.run([muster.task("faces", model="published")]).processed == 0
        assert muster.open(files.uri).model_of("faces") == "published"
        assert faces_fingerprint(files, None) == PUBLISHED.fingerprint
        assert chosen_source(files, "faces", None, shards).model == "published"
        assert chosen_source(files, "faces", "own", shards).model == "own"  # to look is not to decide
        assert library.model_of("faces") == "published"
        used = {table["model"]: table["used"] for table in library.status()["tables"] if table["task"] == "faces"}
        assert used == {"own": False, "published": True}
    with pytest.warns(ModelWarning, match="faces=published"):
        library.run([muster.task("faces", model="own")])
    assert library.model_of("faces") == "own"


def test_it_is_taken_of_few_images_too(files: LibraryFiles, make_photos: Callable[..., Path]) -> None:
    """A run with another model that was cut off goes on with that."""
    manifest.scan(files, [str(make_photos(Path(files.path).parent / "more", range(3, 10)))])
    commit(files, OWN.description)
    commit(files, PUBLISHED.description, shards=slice(1))
    files.write(MODELS, b'{"faces": "published"}')
    config = with_usual_models(files, config_of(files.uri, "faces"))
    assert config.choices == (PUBLISHED,)
    assert len(pending(files, config.choices)) > 0


def test_options_stay_and_weights_too(files: LibraryFiles, tmp_path: Path) -> None:
    files.write(MODELS, b'{"objects": "fcos"}')
    (tmp_path / "w.pth").touch()
    given = TaskChoice(name="objects", options={"min_score": 0.5}, weights=tmp_path / "w.pth")
    config = replace(config_of(files.uri, "objects"), choices=(given,))
    assert with_usual_models(files, config).choices == (replace(given, model="fcos"),)


def test_one_that_is_not_installed_is_refused_and_never_replaced(files: LibraryFiles) -> None:
    commit(files, {**OWN.description, "model": "elsewhere"})
    for ask in (lambda: faces_fingerprint(files, None), lambda: muster.open(files.uri).run(["faces"])):
        with pytest.raises(InputError, match=r"by another model \(elsewhere\), .* `model` faces=NAME"):
            ask()


def test_one_that_needs_options_is_here_and_one_whose_folder_is_gone_is_named(
    files: LibraryFiles, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    model = f"hf:{save('vilt', tmp_path / 'vilt')}"
    for question in ("who?", "what?"):  # and of several tables none is what a run without questions makes
        commit(files, TaskChoice(name="answers", model=model, options={"questions": question}).description)
    assert usual_model(files, "answers") == model
    assert chosen_source(files, "answers", model, dict(manifest.shards(files))).model == model
    shutil.rmtree(tmp_path / "vilt")
    assert chosen_source(files, "answers", model, dict(manifest.shards(files))).model == model
    with pytest.raises(InputError, match="vilt: no such folder"):
        usual_model(files, "answers")


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"faces": 1}', b"\xff"])
def test_a_note_that_is_damaged_is_named(files: LibraryFiles, damaged: bytes) -> None:
    files.write(MODELS, damaged)
    with pytest.raises(MusterError, match=rf"{files.at(MODELS)} is .*: delete it"):
        usual_model(files, "faces")


said = pytest.mark.filterwarnings("default::muster.pipeline.usual.ModelWarning")


@said
def test_the_command_line_says_what_was_decided(muster: Muster, files: LibraryFiles) -> None:
    commit(files, OWN.description)
    commit(files, PUBLISHED.description)
    named = muster("run", "-l", files.uri, "--tasks", "faces", "--model", "faces=published", "--json")
    assert named.error == (
        f"muster: library {files.uri} has faces by own too: from now on published is what commands take there that name"
        " no model; to go back, run once with --model faces=own"
    )
    assert muster("run", "-l", files.uri, "--tasks", "faces").err == ""
    assert "published, " + PUBLISHED.fingerprint in muster("status", "-l", files.uri).out.partition("; taken")[0][-60:]


def test_options_are_read_as_the_model_of_the_library_has_them(muster: Muster, files: LibraryFiles) -> None:
    """streets, not the default, knows roads."""
    files.write(MODELS, b'{"masks": "streets"}')
    choice = TaskChoice(name="masks", model="streets", options={"classes": {"road": None}})
    tables.describe(files, choice.description)
    for shard, _ in manifest.shards(files):
        tables.write_shard(files, choice.fingerprint, shard, {"masks": choice.task.schema.empty_table()})
    outcome = muster("run", "-l", files.uri, "--tasks", "masks", "--classes", "road", "--json")
    assert outcome.facts["processed"] == 0, outcome.err


def test_without_a_gallery_people_are_enrolled_by_it(
    files: LibraryFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(MODELS, b'{"faces": "published"}')
    (tmp_path / "roster.csv").write_text(f"person_id,image,consent\nada,{tmp_path}/photos/0000.jpg,yes\n")
    asked = []

    def process(library: LibraryFiles, config: object, *_: object) -> None:
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(enroll, "process", process)
    with pytest.raises(KeyboardInterrupt):
        muster.open(files.uri).enroll(tmp_path / "roster.csv")
    assert [config.choices for config in asked] == [(PUBLISHED,)]


def test_an_evaluation_is_of_the_model_that_it_names(files: LibraryFiles, tmp_path: Path) -> None:
    """And leaves the library's alone."""
    files.write(MODELS, b'{"faces": "published"}')
    commit(files, OWN.description, lambda i: [{**face(i), "embedding": [1.0] + [0.0] * 127, "quality": 0.9}])
    data = evaluation.labelled(f"{tmp_path}/photos", config_of(files.uri, "faces"), lambda p: None, lambda rows: None)
    assert data.faces.fingerprint == OWN.fingerprint
    assert usual_model(files, "faces") == "published"


@said
def test_clusters_and_pages_are_of_one_model(muster: Muster, library: Path, weights: Path, tmp_path: Path) -> None:
    opened = open_library(library)
    config = config_of(library, "faces", models={"faces": "published"})
    record(opened, config)
    worker = ShardWorker(str(library), config.choices, "cpu", weights)
    for order in pending(opened, config.choices):
        worker.process(order)
    assert muster("run", "-l", library, "--tasks", "faces", "--model", "faces=published").code == 0
    assert muster("cluster", "-l", library).code == 0
    assert [place.name for place in (library / "clusters").iterdir()] == [PUBLISHED.fingerprint]
    assert muster("people", "-l", library, "--out", tmp_path / "pages").code == 0
