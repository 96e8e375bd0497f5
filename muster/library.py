"""A library and what can be done with it: what the commands of the same names do.

Each verb takes the library's lock where it writes, and first finishes what was cut off (pipeline/forget.py), so
that a notebook is as safe as a command. What a verb needs is imported when it is called: torch takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muster.errors import InputError, NotYetError
from muster.pipeline import forget
from muster.storage import manifest
from muster.storage.gallery import audit, gallery, keys
from muster.storage.gallery.answers import check_out, write_answers
from muster.storage.library import decrypted, open_library, trusting
from muster.storage.photos.sources import Found
from muster.storage.photos.wishes import Wishes
from muster.storage.rekey import rekeyed
from muster.storage.texts import normal

if TYPE_CHECKING:
    import pyarrow as pa

    from muster.chosen import AnyTask
    from muster.pipeline.duplicates import Duplicates
    from muster.pipeline.forget import Receipt
    from muster.pipeline.gallery.enroll import EnrolSummary
    from muster.pipeline.gallery.watch import WatchSummary
    from muster.pipeline.people.grouping import ClusterSummary
    from muster.pipeline.people.sidecars import NamesWritten
    from muster.pipeline.run import OnProgress, RunSummary
    from muster.pipeline.styles.album import StyleSummary
    from muster.pipeline.tags import TagsSummary
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.machine import Machine
    from muster.results import Answers, AskResult, Pages, PhotosSummary, SearchResult, UnitPages
    from muster.storage import library as stored
    from muster.storage.downloads import OnDownload
    from muster.storage.manifest import ScanResult

Texts = str | Path | Iterable[str | Path]
TASKS = ("faces", "previews")  # what the people pages need


def open(path: str | Path, create: bool = False, trust: bool = False) -> Library:
    """The library in a folder or bucket (`s3://…`). `create`: make it where there is none.

    `trust`: also where other users may write it; they decide what is read, deleted and answered there. The key of an
    encrypted library is in MUSTER_KEY_FILE or MUSTER_KEY. Raises InputError where there is no library, or it cannot be
    used.
    """
    try:
        with trusting(trust):
            return Library(open_library(path, create), trust)
    except NotYetError:
        raise NotYetError(f"no library at {path}", "scan", str(path), otherwise=" (or `create`=True)") from None


class Library:
    """An open library. Made by `muster.open`."""

    def __init__(self, files: stored.LibraryFiles, trust: bool = False) -> None:
        self._files, self._trust = files, trust

    def __repr__(self) -> str:
        return f"muster.Library({self.uri!r})"

    @property
    def uri(self) -> str:
        """Its absolute path, or the URI of its bucket."""
        return self._files.uri

    @property
    def encrypted(self) -> bool:
        return self._files.key is not None

    def at(self, name: str) -> str:
        """Where one of its files lies, such as a receipt."""
        return self._files.at(name)

    # ---- photos ------------------------------------------------------------------------------------------------------

    def scan(
        self,
        *sources: Texts,
        follow_links: bool = False,
        exclude: Texts = (),
        verify: bool = False,
        column: str | None = None,
        allow_private: bool = False,
        fps: float = 1.0,
        frames: int | None = None,
    ) -> ScanResult:
        """Find images, and note them in the manifest. A later scan finds what is new, changed, moved or gone.

        `sources`: folders, globs, files or Parquet manifests; local or any URI. `follow_links`: also links that lead
        out of these folders. `exclude`: globs of what is left out of them, as lines of a .musterignore are. `verify`:
        every local photo is read, to find those that were changed and kept their size and time. `column`: of Parquet
        files that names images. `allow_private`: their web servers may lie at private addresses, now and when they are
        read. `fps`, `frames`: of a video, moments of each second, and at most.
        """
        names = _sources(sources)
        wishes = Wishes(follow_links, several(exclude), column, allow_private, fps, frames)
        with self._in_use(), forget.locked(self._files):
            return manifest.scan(self._files, names, wishes, verify)

    def run(
        self,
        tasks: Iterable[AnyTask] = TASKS,
        *,
        machine: Machine | None = None,
        retry_errors: bool = False,
        trace: str | Path | None = None,
        on_progress: OnProgress | None = None,
        on_download: OnDownload | None = None,
    ) -> RunSummary:
        """Process every image that the tasks have not seen yet. Interrupted, it keeps what it has done.

        `tasks`: names, or what `muster.task` gives; without a model they have the library's (`model_of`), and with one
        it becomes the library's. `machine`: where; by default a worker per GPU or core of this
        machine, in a Ray of its own that ends with the run. `retry_errors`: also images whose error may have passed.
        `trace`: a file, new or replaced, for what the workers did when; Perfetto and Chrome's about:tracing draw it.
        """
        from muster.pipeline.run import run
        from muster.pipeline.usual import with_usual_models

        config = _config(self.uri, tasks, machine, retry_errors, trace)
        with self._in_use():
            return run(with_usual_models(self._files, config), on_progress or silent, on_download)

    def cluster(
        self,
        method: str = "graph",
        *,
        k: int | None = None,
        same_photo: bool = False,
        model: str | None = None,
        machine: Machine | None = None,
    ) -> ClusterSummary:
        """Say which faces are one person. Ids of people stay when photos are added.

        `method`: "graph", which finds the number of people, or "kmeans" with `k` people (found where None).
        `same_photo`: two faces of one photo may be one person. `model`: whose faces; those of
        `model_of` where None.
        """
        from muster.pipeline.people.grouping import check_method, cluster_faces

        check_method(method, k, same_photo)
        with self._in_use(), forget.locked(self._files):
            return cluster_faces(self._files, model, method, k, same_photo, machine)

    def read_tags(self) -> TagsSummary:
        """Read what other programs wrote of the photos: XMP in them and in sidecars, and Google Takeout's JSON.

        It is in the table "tags" then. A later call reads what is new or changed. Only local photos are looked at.
        """
        from muster.pipeline.tags import read_tags

        with self._in_use(), forget.locked(self._files):
            return read_tags(self._files)

    def people_pages(self, out: str | Path | None = None, *, model: str | None = None) -> Pages:
        """Write the people pages, a site that opens from disk. `out`: its folder; LIBRARY/people where None.

        `model`: as `cluster` takes it.
        """
        from muster.pipeline.people.pages import folder_for, write_people
        from muster.results import Pages

        with self._in_use():
            folder = folder_for(self.uri, out)
            with forget.locked(self._files) if self._files.holds(folder) else forget.steady(self._files):
                summary = write_people(self._files, model, folder)
        return Pages(**asdict(summary), out=folder, index=(folder / "index.html").absolute().as_uri())

    def units(self, *, model: str | None = None) -> pa.Table:
        """What excites the units of a network most: of all photos that `run` has looked at with the task "units", the
        nine of each unit, best first, exact copies of a photo once; docs/data-model.md has the columns.

        `model`: as `table` takes it.
        """
        from muster.pipeline.units import best_of

        with self._in_use():
            forget.settled(self._files)
            return best_of(self._files, model)

    def unit_pages(
        self,
        out: str | Path,
        *,
        model: str | None = None,
        weights: str | Path | None = None,
        layers: str | Iterable[str] = (),
        ascent: bool = False,
        machine: Machine | None = None,
        on_download: OnDownload | None = None,
    ) -> UnitPages:
        """Write pages of what `units` answers, with the parts of the photos that were seen, into the folder `out`.

        `weights`: the file that the rows were made by, where it is your own. `layers`: these alone. `ascent`: beside
        the patches a picture for each unit that was made to excite it, by gradient ascent.
        """
        from muster.pipeline.people.pages import folder_for
        from muster.pipeline.units import Network, write_pages
        from muster.pipeline.work.machine import Machine
        from muster.results import UnitPages

        network = Network(model, weights, machine or Machine(), on_download)
        with self._in_use():
            folder = folder_for(self.uri, out)
            with forget.steady(self._files):
                summary = write_pages(self._files, network, several(layers), folder, ascent)
        return UnitPages(**asdict(summary), out=folder, index=(folder / "index.html").absolute().as_uri())

    def name(self, person: str | int, name: str, *, merge: bool = False, model: str | None = None) -> dict[str, Any]:
        """Say what a person is called; "": nothing any more. Takes no lock, and counts at once, on the live page too.

        `person`: a name, an id, the first letters of one, or the number on the people pages; `table("people")` has
        them. `merge`: whoever has the name already is the same person. `edit` in the answer: what `undo` would take
        back.
        """
        from muster.pipeline.people import naming

        with self._in_use():
            return naming.name(self._files, str(person), name, merge, model)

    def merge(self, person: str | int, other: str | int, *, model: str | None = None) -> dict[str, Any]:
        """Say that two people are one, who goes by the name of `person`, or else of `other`."""
        from muster.pipeline.people import naming

        with self._in_use():
            return naming.merge(self._files, str(person), str(other), model)

    def undo(self) -> dict[str, Any]:
        """Take back what was said last of people and photos, here or on the live page."""
        from muster.pipeline.people import naming

        with self._in_use():
            return naming.undo(self._files)

    def serve(
        self, port: int | None = None, *, model: str | None = None, on_ready: Callable[[str], None] | None = None
    ) -> None:
        """Serve the live page, for this computer alone, until KeyboardInterrupt.

        `port`: one that is free where None. `on_ready`: called with the address to open, which has a token. `model`: as
        `cluster` takes it.
        """
        from muster.pipeline.people.served import serve_library

        with self._in_use():
            forget.settled(self._files)
            serve_library(self._files, model, lambda url, others: None if on_ready is None else on_ready(url), port)

    def serve_gallery(
        self,
        port: int | None = None,
        *,
        host: str = "127.0.0.1",
        certificate: str | Path | None = None,
        certificate_key: str | Path | None = None,
        rate: float | None = None,
        threshold: float | None = None,
        model: str | None = None,
        machine: Machine | None = None,
        on_ready: Callable[[str], None] | None = None,
        on_remark: Callable[[str], None] | None = None,
        on_download: OnDownload | None = None,
    ) -> None:
        """Serve the gallery to programs and to a secretary, until KeyboardInterrupt: docs/door.md.

        Whoever asks has a key, see `make_key`. `host`: of this machine alone, but with a `certificate` and its
        `certificate_key` (PEM). `rate`: images a minute that a key may ask about; None: 600. `threshold`: the least
        score of a name, instead of the measured one. `on_ready`: called with the address; `on_remark`: with what its
        owner is to know.
        """
        from muster.chosen import task
        from muster.pipeline.gallery.served import PER_MINUTE, At, serve_gallery

        config = _config(self.uri, [task("faces", model=model)], machine)
        file, key = (None if each is None else Path(each).expanduser() for each in (certificate, certificate_key))
        at = At(host, port, file, key, PER_MINUTE if rate is None else rate)
        with self._in_use():
            serve_gallery(self._files, config, at, threshold, on_ready or silent, on_remark or silent, on_download)

    def copy(
        self, person: str, out: str | Path, *, hard_links: bool = False, model: str | None = None
    ) -> dict[str, Any]:
        """Copy the originals of a person's photos into a new folder; what was written.

        `person`: as `name` takes it. `hard_links`: link them instead,
        where they are files on the same disk; then who changes one changes the other.
        """
        from muster.pipeline.people.copies import copy_photos

        with self._in_use():
            return copy_photos(self._files, person, Path(out), hard_links, model)

    def write_tags(
        self,
        out: str | Path | None = None,
        *,
        beside: bool = False,
        csv: str | Path | None = None,
        model: str | None = None,
    ) -> NamesWritten:
        """Write who is where for other programs: XMP sidecars with face regions, and a CSV. Photos are never changed.

        `out`: a folder for sidecars, which mirrors the paths of the photos; `beside`: next to the photos instead. What
        others wrote in a sidecar stays; of ours there is what is true now. `csv`: a file with a row for each face of
        somebody named. Left out are people who have no name or are hidden.
        """
        from muster.pipeline.people.sidecars import write_names

        folder, table = (None if place is None else Path(place) for place in (out, csv))
        with self._in_use():
            return write_names(self._files, folder, beside, table, model)

    def duplicates(self) -> Duplicates:
        """Find photos that are there more than once: the same picture, and the same moment; and which to keep, and why.

        Nothing is deleted. The table `duplicates` has what was found, and the people pages show it when they are next
        written.
        """
        from muster.pipeline.duplicates import find_duplicates

        with self._in_use(), forget.locked(self._files):
            return find_duplicates(self._files)

    def style(
        self,
        styles: Texts | Mapping[str, float],
        out: str | Path,
        *,
        photos: str = "",
        sheet: bool = False,
        model: str | None = None,
        weights: str | Path | None = None,
        machine: Machine | None = None,
        retry_errors: bool = False,
        on_progress: OnProgress | None = None,
        on_download: OnDownload | None = None,
        **options: Any,
    ) -> StyleSummary:
        """Paint photos in the style of pictures, into the folder `out`. Interrupted, it keeps what it has done.

        `styles`: a picture, several, or each with its weight; none where `weights` are of the `model` "net", which has
        learnt its style. `photos`: which, as `search` takes it; all where "".
        `sheet`: each with α/β from 1e-4 to 1, on one sheet. `options`: those of the task, such as `alpha`, `side` and
        `steps`. Called again with the same `out` it goes on; with other styles it adds theirs. docs/style.md.
        """
        from muster.pipeline.styles.album import Request, paint
        from muster.pipeline.work.machine import Machine

        named = dict(styles) if isinstance(styles, Mapping) else dict.fromkeys(several(styles), 1.0)
        file = None if weights is None else Path(weights)
        request = Request(named, Path(out), photos, sheet, model, options, file)
        with self._in_use():
            return paint(self._files, request, machine or Machine(), retry_errors, on_progress or silent, on_download)

    # ---- what is there -----------------------------------------------------------------------------------------------

    def search(
        self,
        text: str = "",
        *,
        like: str | Path | None = None,
        most: int = 50,
        model: str | None = None,
        machine: Machine | None = None,
        on_download: OnDownload | None = None,
    ) -> SearchResult:
        """Photos by people, objects, scenes, dates, places, cameras, folders and file names: "anna -bob dog 2019"; and
        by any words, where the features are of a model of pictures and words: "anna children in the snow 2019".

        docs/commands.md has the language. `like`: a photo, in the library or a file. Of photos that are compared with
        it, or with words, the `most` that are most alike, the nearest first, and a column `similarity`, the cosine of
        their embeddings by the task `features`. `model`: whose faces; those of `model_of` where None. Raises
        NotYetError where no photo was looked at yet, or has features; InputError where both would be compared with.
        """
        from muster.pipeline.alike import nearest
        from muster.pipeline.people.searching import opened
        from muster.pipeline.texts import TEXTLESS
        from muster.pipeline.work.machine import Machine
        from muster.results import SearchResult

        if most < 1:
            raise InputError(f"`most` {most}: at least 1 is needed")
        machine = machine or Machine()
        with self._in_use():
            forget.settled(self._files)
            search = opened(self._files, model, machine)
        found = search.run(text, most)
        rows, similarities = found.rows, found.similarities
        if like is not None:
            if similarities is not None:
                raise InputError(
                    f"`like` {like}: photos are in order by it, or by the words of {text!r}: leave one out"
                )
            similarities, rows = nearest(self._files.uri, search.index, str(like), rows, most, machine, on_download)
        table = search.table(rows)
        return SearchResult(
            query=text,
            table=table if similarities is None else table.append_column("similarity", [similarities]),
            understood=found.understood,
            unknown=found.unknown,
            notes=(*found.notes, TEXTLESS) if found.textless else found.notes,
        )

    def ask(self, question: str, *, model: str | None = None) -> AskResult:
        """Answer a question from the tables: "how many photos with Anna and a dog in 2019?".

        docs/ask.md has what can be asked. What is not understood has no answer: it is said why, and which questions
        near it are. `model`: whose faces; those of `model_of` where None. Raises InputError for a question that is
        empty or longer than 1,000 letters, NotYetError where no photo was looked at yet.
        """
        from muster.pipeline.people.asking import asked
        from muster.results import AskResult

        with self._in_use():
            forget.settled(self._files)
            found = asked(self._files, question, model)
        return AskResult(
            question=question,
            answer=found.text,
            table=found.answer.table,
            sql=found.answer.sql,
            understood=found.answer.meant,
            problem=found.answer.problem,
            nearest=found.answer.nearest,
            notes=found.notes,
            tables=found.tables,
        )

    def status(self) -> dict[str, Any]:
        """Images, how many are done, and `tables`: the rows of each task under each model it was run with."""
        from muster.pipeline.status import status

        with self._in_use():
            return status(self._files)

    def model_of(self, task: str) -> str | None:
        """The model that verbs take where none is named: the last one that `run` was given, else that of the rows which
        cover most images; None where there are no rows, which stands for Muster's own choice."""
        from muster.pipeline.usual import usual_model

        with self._in_use():
            return usual_model(self._files, task)

    def choose(self, query: str, out: str | Path) -> Library:
        """A library, at `out`, of the photos that a query finds, as `search` takes it: for slow tasks.

        Its photos are those of this library, where they lie, each a shard of its own. Called again with the same `out`,
        those that are found then are its photos; rows that are there already are not made again.
        """
        from muster.pipeline.chosen import choose

        with self._in_use():
            return Library(choose(self._files, query, str(out)), self._trust)

    def table(self, name: str, *, model: str | None = None, columns: str | Iterable[str] | None = None) -> pa.Table:
        """A table as Arrow: "manifest", "images", "errors", "clusters", "people", "tags", "duplicates", or what a task
        found.

        `model`: whose rows, also as a fingerprint that `status` shows; where None, those of `model_of`. Of several,
        those that cover most images. docs/data-model.md describes the columns. Raises NotYetError where there are no
        rows yet.
        """
        from muster.pipeline.reading import table

        with self._in_use():
            forget.settled(self._files)
            return table(self._files, name, model, None if columns is None else several(columns))

    def errors(self, tasks: str | Iterable[str] = ()) -> pa.Table:
        """Images that could not be read (`task` null), or that a task failed on: `uri`, `shard`, `task`, `error_kind`,
        `error`, `image_id`, by shard and URI. `tasks`: these alone; all of which the library has rows, where empty."""
        from muster.pipeline.failures import failures

        with self._in_use():
            forget.settled(self._files)
            return failures(self._files, several(tasks))

    def export(
        self,
        format: str,
        out: str | Path,
        tasks: str | Iterable[str] = ("objects",),
        *,
        models: Mapping[str, str] | None = None,
        min_score: float = 0.0,
        crops: bool = False,
    ) -> dict[str, Any]:
        """Write boxes and masks for other programs into a new file or folder, or photos with their rows; what was
        written.

        `format`: "coco", "csv", "yolo" or "labelme"; with the photos "webdataset", "parquet", "lance" or "fiftyone", of
        these with `crops` what was found, cut out of the photos. `models`: task → whose rows, as `table` takes it.
        `min_score`: from 0 to 1.
        """
        from muster.pipeline.findings.export import export_annotations

        with self._in_use():
            return export_annotations(self.uri, format, Path(out), several(tasks), models or {}, min_score, crops)

    def overlay(
        self,
        out: str | Path,
        tasks: str | Iterable[str] = (),
        *,
        models: Mapping[str, str] | None = None,
        sample: int = 24,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Draw what tasks found into copies of `sample` photos, in a new folder; where they are.

        `tasks`: those that the library has, where empty. Another `seed`, other photos.
        """
        from muster.pipeline.findings.overlay import overlay

        with self._in_use():
            return overlay(self.uri, Path(out), several(tasks), models or {}, sample, seed)

    # ---- known people ------------------------------------------------------------------------------------------------

    def enroll(
        self,
        roster: str | Path,
        *,
        consent_given: bool = False,
        accept: str | Iterable[str] = (),
        columns: Mapping[str, str] | None = None,
        model: str | None = None,
        machine: Machine | None = None,
        on_progress: OnProgress | None = None,
        on_download: OnDownload | None = None,
    ) -> EnrolSummary:
        """Enrol the people of a roster, or update them: a CSV, a folder with a folder per person, or a Parquet file.

        `consent_given`: you hold the consent of everybody in a roster that does not say; without consent nobody's
        photos are looked at. `accept`: person_ids to enrol in spite of what is to be reviewed, such as that they were
        forgotten before. `columns`: what the roster calls them, such as {"person_id": "Student ID"}; others are left
        out then.
        """
        from muster.chosen import task
        from muster.pipeline.gallery.enroll import Request, enroll

        config = _config(self.uri, [task("faces", model=model)], machine)
        request = Request(str(roster), consent_given, [normal(person) for person in several(accept)], columns or {})
        with self._in_use():
            return enroll(request, config, on_progress or silent, on_download)

    def calibrate(
        self,
        fpir: float | None = None,
        miss: float | None = None,
        *,
        by: str | None = None,
        each_group: bool = False,
        alike: Iterable[tuple[str, str]] = (),
    ) -> dict[str, Any]:
        """Measure the thresholds of `identify` and `verify` on the gallery itself, and keep them with it.

        `fpir`: share of strangers that may be given a name. `miss`: share of enrolled people who may be missed. None:
        what so many people support. `by`: "group", "age" or "time", that errors are counted by; with `each_group` the
        `fpir` holds in each of these. `alike`: pairs of person_ids, such as twins, of whom one is named only where they
        are far enough ahead of the other.
        """
        from muster.pipeline.gallery.calibrate import Wishes, calibrate

        wishes = Wishes(fpir, miss, by, each_group, list(alike))
        with self._in_use(), forget.locked(self._files):
            return calibrate(self._files, wishes)

    def identify(
        self,
        images: str | Path | Iterable[str | Path],
        *,
        threshold: float | None = None,
        out: str | Path | None = None,
        machine: Machine | None = None,
        on_progress: OnProgress | None = None,
        on_download: OnDownload | None = None,
    ) -> Answers:
        """Who is this? A row for each face: a person, UNKNOWN, or UNSURE with candidates, for a human to judge.

        `images`: photos, folders, or any other source. `threshold`: the least score of a name, instead of the measured
        one. `out`: a .parquet or .csv file to write the answers to as well. Whoever is named goes into the audit log.
        """
        from muster.pipeline.gallery.identify import identify
        from muster.results import Answers

        file = None if out is None else Path(out).expanduser()
        config = _config(self.uri, ["faces"], machine)
        with self._in_use():
            check_out(file, self._files)
            answers, remark = identify(list(several(images)), config, threshold, on_progress or silent, on_download)
        write_answers(answers, file)
        return Answers(answers, remark, file)

    def verify(
        self,
        image: str | Path,
        person: str,
        *,
        threshold: float | None = None,
        machine: Machine | None = None,
        on_download: OnDownload | None = None,
    ) -> dict[str, Any]:
        """Is this the person? `answer`: "match", "no match", or "unsure"; with the score of the largest face.

        `person`: a person_id. Written to the audit log.
        """
        from muster.pipeline.gallery.identify import verify

        config = _config(self.uri, ["faces"], machine)
        with self._in_use():
            return verify(person, str(image), config, threshold, on_download)

    def watch(
        self,
        source: str | Path,
        on_event: Callable[[dict[str, Any]], None],
        *,
        name: str | None = None,
        threshold: float | None = None,
        agree: int = 3,
        of: int = 5,
        away: float = 5.0,
        out: str | Path | None = None,
        webhook: str | None = None,
        allow_http: bool = False,
        keep: str | Path | None = None,
        machine: Machine | None = None,
        on_remark: Callable[[str], None] | None = None,
        on_download: OnDownload | None = None,
    ) -> WatchSummary:
        """Who comes before a camera, and who leaves: until a file ends, or KeyboardInterrupt.

        `source`: rtsp://…, a video device, or a video file; `name`: what events call it. `on_event`: called with each
        event (docs/camera.md), which stands in the audit log then. `agree` of the `of` best faces must be one person;
        who is not seen for `away` seconds has left. Events go to the file `out` and by POST to `webhook` too, which is
        https, or http with `allow_http`. `keep`: a folder for a JPEG of each frame in which somebody came. `on_remark`:
        what else is to be known, in words.
        """
        from muster.pipeline.gallery.visits import Rules
        from muster.pipeline.gallery.watch import Telling, Watched, watch

        watched = Watched(str(source), name, Rules(agree, of, away), threshold)
        telling = Telling(Path(out) if out else None, webhook, allow_http, Path(keep) if keep else None)
        config = _config(self.uri, ["faces"], machine)
        with self._in_use():
            return watch(self._files, config, watched, telling, on_event, on_remark or silent, on_download)

    def forget(self, *names: str, expired: bool = False) -> list[Receipt]:
        """Take people (by person_id) and images out of every table, index, page and gallery.

        `names`: images by image_id, or as `scan` takes them; of a folder, glob or Parquet file all that is known. Exact
        copies go too. `expired`: everybody whose consent has ended, instead of names. A receipt each, also for
        deletions that were cut off before; `found_afterwards` is what a search of all files still found: nothing.
        """
        if bool(names) == expired:
            raise InputError("name whom or what to forget, or say `expired`")
        with self._in_use(), self._files.lock():
            receipts = forget.settle(self._files)  # what was cut off before is done now, and has a receipt
            if names:
                receipts += forget.forget(self._files, names, forget.ASKED)
            elif ended := forget.expired(self._files, date.today()):
                receipts.append(forget.forget_people(self._files, ended, forget.ENDED))
        return receipts

    def decrypt(self, out: str | Path) -> Library:
        """Write a copy of this encrypted library that every program can read, into a new or empty folder or bucket."""
        with self._in_use(), forget.steady(self._files):
            return Library(decrypted(self._files, out), self._trust)

    def rekey(self) -> int:
        """Encrypt this library, which has another key or none, with the key in MUSTER_NEW_KEY_FILE or MUSTER_NEW_KEY.

        In place, on a local disk, with room for it twice. The number of files; 0 where it has that key already. Killed,
        it has its old key, or the new one; again, it has the new one.
        """
        with self._in_use(), forget.locked(self._files):
            self._files, files = rekeyed(self._files)
            return files

    def make_key(self, name: str, role: str, *, until: date | None = None) -> dict[str, Any]:
        """A key of the service: `id`, and `key`, its text, which is shown now and never again.

        `name`: who or what has it. `role`: "asks", "enrols", which may ask too, or "administers", which may do all.
        `until`: the last day that it is valid; no end where None.
        """
        with self._in_use():
            made, text = keys.made(self._files, name, role, until)
        return {**_shown(made), "key": text}

    def keys(self) -> list[dict[str, Any]]:
        """The keys that were ever made, oldest first: `id`, `name`, `role`, `made`, `ends`, `revoked`."""
        with self._in_use():
            return [_shown(key) for key in keys.listed(self._files)]

    def revoke_key(self, id: str) -> dict[str, Any]:
        """Nobody is answered by this key from now on. It stays in `keys`."""
        with self._in_use():
            return _shown(keys.revoked(self._files, id))

    def audit_check(self, head: str | None = None) -> dict[str, Any]:
        """Follow the chain of the audit log: `lines`, `head`, and `problem`, None where every line is as written.

        `head`: one that was answered before and kept elsewhere; a log that was written anew lacks it.
        """
        with self._in_use():
            found = audit.check(self._files, head)
            wrong = found.problem or gallery.problem(self._files) or keys.problem(self._files)
            return {**asdict(found), "problem": wrong}

    def audit_log(self) -> list[dict[str, Any]]:
        """What was done with known people, oldest first, with the person_ids of those who are still enrolled."""
        with self._in_use():
            forget.settled(self._files)
            known = gallery.read(self._files)
            return [gallery.named(known, entry) for entry in audit.entries(self._files)]

    def _in_use(self) -> AbstractContextManager[None]:
        return trusting(self._trust)


def scan(
    *sources: Texts,
    library: str | Path = "./library",
    follow_links: bool = False,
    exclude: Texts = (),
    verify: bool = False,
    column: str | None = None,
    allow_private: bool = False,
    fps: float = 1.0,
    frames: int | None = None,
    trust: bool = False,
) -> ScanResult:
    """As `Library.scan`, in a library that is made where there is none: not for a scan that is refused."""
    wishes = Wishes(follow_links, several(exclude), column, allow_private, fps, frames)
    return _scanned(sources, library, wishes, trust, verify)[1]


def _scanned(
    sources: Iterable[Texts],
    place: str | Path,
    wishes: Wishes,
    trust: bool,
    verify: bool = False,
) -> tuple[Library, ScanResult]:
    names, found = _sources(sources), list[Found]()
    with trusting(trust):
        files = open_library(place, create=True, before=lambda: found.extend(manifest.found_in(None, names, wishes)))
        if not found:  # the library was there
            opened = Library(files, trust)
            return opened, opened.scan(*names, verify=verify, **vars(wishes))
        with forget.locked(files):
            return Library(files, trust), manifest.take_in(files, found)


def photos(
    *sources: Texts,
    library: str | Path = "./library",
    out: str | Path | None = None,
    tasks: Iterable[AnyTask] = TASKS,
    method: str = "graph",
    k: int | None = None,
    same_photo: bool = False,
    machine: Machine | None = None,
    follow_links: bool = False,
    exclude: Texts = (),
    fps: float = 1.0,
    frames: int | None = None,
    trust: bool = False,
    on_scan: Callable[[ScanResult], None] | None = None,
    on_progress: OnProgress | None = None,
    on_download: OnDownload | None = None,
) -> PhotosSummary:
    """Photos in, people pages out: open or make a library, scan, run, read tags, cluster and write the pages.

    Arguments are those of the verbs. What cannot be is refused before anything is done.
    """
    from muster.pipeline.people.grouping import check_method
    from muster.pipeline.people.pages import folder_for
    from muster.results import PhotosSummary

    with trusting(trust):
        folder_for(str(library), out)
    check_method(method, k, same_photo)
    config = _config(str(library), tasks, machine)
    if missing := [name for name in TASKS if name not in {choice.name for choice in config.choices}]:
        names = ",".join(choice.name for choice in config.choices)
        raise InputError(f"`tasks` {names}: the people pages need {' and '.join(missing)} too")
    model = config.choice("faces").model
    wishes = Wishes(follow_links, several(exclude), fps=fps, frames=frames)
    opened, found = _scanned(sources, library, wishes, trust)
    if on_scan is not None:
        on_scan(found)
    run = opened.run(config.choices, machine=machine, on_progress=on_progress, on_download=on_download)
    tags = opened.read_tags()
    cluster = opened.cluster(method, k=k, same_photo=same_photo, model=model)
    return PhotosSummary(scan=found, run=run, tags=tags, cluster=cluster, pages=opened.people_pages(out, model=model))


def identify(
    images: str | Path | Iterable[str | Path], library: str | Path | Library, threshold: float | None = None
) -> Answers:
    """Who is this? As `Library.identify`, by a library or its place."""
    opened = library if isinstance(library, Library) else open(library)
    return opened.identify(images, threshold=threshold)


def several(given: Texts) -> tuple[str, ...]:
    """One text or path is one, and not its letters."""
    return (str(given),) if isinstance(given, str | Path) else tuple(map(str, given))


def _sources(given: Iterable[Texts]) -> list[str]:
    names = [name for each in given for name in several(each)]
    if not names:
        raise InputError("name what to scan: folders, globs, files or Parquet manifests")
    return names


def _config(
    library: str,
    tasks: Iterable[AnyTask],
    machine: Machine | None,
    retry_errors: bool = False,
    trace: str | Path | None = None,
) -> RunConfig:
    from muster.chosen import choice_of
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.machine import Machine

    choices = tuple(map(choice_of, [tasks] if isinstance(tasks, str) else tasks))
    return RunConfig(
        library=library,
        choices=choices,
        machine=machine or Machine(),
        retry_errors=retry_errors,
        trace=None if trace is None else Path(trace),
    )


def _shown(key: keys.Key) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if name != "sha256"}


def silent(what: object) -> None:
    """Say nothing."""
