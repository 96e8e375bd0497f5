"""Which rows are taken, and of which tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.findings import STREETS, commit, scanned
from muster.errors import InputError
from muster.pipeline.findings.annotations import annotations_of
from muster.pipeline.findings.sources import (
    categories_of,
    chosen_source,
    require_tasks,
    sources_of,
    tasks_of,
    tasks_that,
)
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.tasks import registry


def other(**parameters: Any) -> dict[str, Any]:
    return {**TaskChoice(name="objects").description, "parameters": parameters}


def test_which_of_several(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    shards = dict(manifest.shards(library))
    assert len(shards) > 1

    def chosen(wanted: str | None = None) -> str:
        return chosen_source(library, "objects", wanted, shards).fingerprint

    with pytest.raises(InputError, match=r"has no objects for its images yet: `run` first"):
        chosen()
    usual = commit(library, TaskChoice(name="objects").description, shards=slice(1))
    assert chosen() == usual
    loose = commit(library, other(min_score=0.1))
    assert chosen() == chosen("fastestdet") == chosen(loose) == loose  # it covers more
    assert chosen(usual) == usual
    strict = commit(library, other(min_score=0.9))
    assert chosen() == chosen("fastestdet") == min(loose, strict)
    assert (chosen(loose), chosen(strict)) == (loose, strict)
    commit(library, TaskChoice(name="objects").description)
    assert chosen() == usual  # as much as the others, and it is what `muster run` makes
    fcos = commit(library, TaskChoice(name="objects", model="fcos").description, shards=slice(1))
    for score in (0.1, 0.2, 0.3, 0.4):
        commit(
            library,
            {**TaskChoice(name="objects", model="fcos").description, "parameters": {"min_score": score}},
            shards=slice(1),
        )
    assert (chosen(), chosen("fcos")) == (usual, fcos)
    with pytest.raises(InputError, match=r"`model` objects=unicorn: library .* has objects by fa.*fcos: "):
        chosen("unicorn")


def test_images_count_and_not_shards(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    library = open_library(tmp_path / "library", create=True)
    for name, numbers in (("a", [0]), ("b", [1]), ("c", range(2, 6))):
        manifest.scan(library, [str(make_photos(tmp_path / name, numbers))])
    shards = manifest.shards(library)
    place = [images for _, images in shards].index(4)
    assert sorted(images for _, images in shards) == [1, 1, 4]
    two = commit(library, TaskChoice(name="objects").description)
    tables.forget_shard(library, two, shards[place][0])
    four = commit(library, other(min_score=0.1), shards=slice(place, place + 1))
    assert [source.fingerprint for source in sources_of(library, "objects", dict(shards))] == [four, two]


def test_tasks_by_what_they_find(found: LibraryFiles) -> None:
    assert tasks_that(lambda findings: findings.placed) == ["faces", "masks", "objects"]
    assert tasks_that(lambda findings: findings.drawn) == ["faces", "labels", "masks", "objects", "scenes"]
    assert tasks_that(lambda findings: bool(findings.label) and findings.filters) == ["labels", "objects", "scenes"]
    assert tasks_of(found) == ["faces", "masks", "objects", "scenes"]
    require_tasks(found, ("masks", "objects"), lambda findings: findings.placed)
    for task in ("scenes", "x"):
        with pytest.raises(InputError, match=rf"`tasks` objects,{task}: choose among faces, masks, objects"):
            require_tasks(found, ("objects", task), lambda findings: findings.placed)


def test_rows_of_a_task_that_is_not_installed(found: LibraryFiles) -> None:
    tables.describe(found, strange := {**TaskChoice(name="previews").description, "task": "means", "model": None})
    shards = manifest.shards(found)
    for shard, _ in shards:
        tables.write_shard(
            found, tables.fingerprint(strange), shard, {"means": registry.find("previews").schema.empty_table()}
        )
    assert tasks_of(found) == ["faces", "masks", "means", "objects", "scenes"]
    [source] = sources_of(found, "means", dict(shards))
    assert source.fingerprint == tables.fingerprint(strange)
    with pytest.raises(
        InputError, match=r"library .* has rows of means, a task that is not installed here: install the"
    ):
        require_tasks(found, ("means",), lambda findings: findings.placed)


def test_categories(found: LibraryFiles) -> None:
    objects, masks, faces = annotations_of(found, ("objects", "masks", "faces"), {}).sources
    both = categories_of([objects, masks, faces])
    assert (both["person"], both["car"], both["toothbrush"], both["sky"], both["face"]) == (1, 3, 90, 91, 101)
    assert len(set(both.values())) == len(both) == 80 + 10 + 1  # a car is a car
    assert categories_of([faces]) == {"face": 91}
    voc = {**STREETS, "model": "lraspp"}
    commit(found, voc)
    source = chosen_source(found, "masks", "lraspp", dict(manifest.shards(found)))
    assert (categories_of([source])["couch"], len(categories_of([source]))) == (63, 20)
