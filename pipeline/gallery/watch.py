"""A camera before the gallery: who comes and who leaves, as events that stand in the audit log before they are told."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import numpy as np
import torch

from muster.arrays import matrix
from muster.errors import ImageError, InputError, MusterError
from muster.pipeline import forget
from muster.pipeline.gallery.desk import IDENTIFY, Desk
from muster.pipeline.gallery.visits import Event, Moment, Rules, Visits, timestamp
from muster.pipeline.run import fetch_weights
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import cores
from muster.storage.downloads import OnDownload
from muster.storage.gallery import events
from muster.storage.http.webhook import Webhook
from muster.storage.library import LibraryFiles
from muster.storage.photos.camera import Back, Camera, Frame, Lost, name_of
from muster.tasks.base import Image, Task

PATIENCE = 0.5  # seconds without a frame, after which it is seen who has left
NAME = 100  # characters of a camera's name


@dataclass(frozen=True)
class Telling:
    """Where events go besides to who asked: lines of the file `out`, a `webhook` (by http to another machine only with
    `allow_http`), and in the folder `keep` a picture of the frame in which somebody came."""

    out: Path | None = None
    webhook: str | None = None
    allow_http: bool = False
    keep: Path | None = None


@dataclass(frozen=True)
class WatchSummary:
    """`frames` came, of which `looked_at` were looked at: the newest, each time. `entered`: enter events."""

    frames: int
    looked_at: int
    entered: int


@dataclass
class _Count:
    looked_at: int = 0
    entered: int = 0
    refused: int = 0  # frames that cannot be shown


@dataclass(frozen=True)
class Watched:
    """What is watched, and by what rules. `name`: of the camera, in events; None: its host, device or file."""

    source: str
    name: str | None = None
    rules: Rules = field(default_factory=Rules)
    threshold: float | None = None

    @property
    def called(self) -> str:
        """Raises InputError where it has no name that can be told."""
        host = name_of(self.source)
        if self.name is not None and not (0 < len(self.name) <= NAME and self.name.isprintable()):
            raise InputError(f"`name` {self.name[:NAME]!r}: give 1 to {NAME} characters that can be printed")
        return self.name or host


def watch(
    library: LibraryFiles,
    config: RunConfig,
    watched: Watched,
    telling: Telling,
    on_event: Callable[[Event], None],
    on_remark: Callable[[str], None],
    on_download: OnDownload | None = None,
) -> WatchSummary:
    """Until the file ends, or KeyboardInterrupt, which is raised again once who is still there has left.

    `on_event`: called with each event, in this thread. `on_remark`: what else is to be known, also from others.
    """
    called = watched.called
    forget.settled(library)
    desk = Desk(library, watched.threshold)
    model = desk.enrolled().known.model
    desk = Desk(library, watched.threshold, model)
    if remark := desk.check(IDENTIFY):
        on_remark(remark)
    config = replace(config, choices=(TaskChoice(name="faces", model=model),))
    with _threads(), ExitStack() as closed:
        tell = _teller(library, telling, on_event, on_remark, closed)
        fetch_weights(config, on_download)
        task = config.choice("faces").load(config.machine.torch_device, config.machine.weights_dir)
        task([_image(np.zeros((640, 640, 3), np.uint8))])  # what is made ready by the first picture
        camera = closed.enter_context(closing(Camera(watched.source)))
        on_remark(f"watching {called}")
        visits = Visits(called, desk.answer, watched.rules, _width(task))
        count = _Count()
        try:
            _look(camera, called, task, visits, tell, on_remark, count)
        finally:  # interrupted too: who was told to have come is told to have left
            for event in visits.close():
                tell(event, None)
            on_remark(f"{camera.seen} frames came, {count.looked_at} were looked at")
        return WatchSummary(camera.seen, count.looked_at, count.entered)


def _look(
    camera: Camera,
    called: str,
    task: Task,
    visits: Visits,
    tell: Callable[[Event, Frame | None], None],
    on_remark: Callable[[str], None],
    count: _Count,
) -> None:
    for what in camera.newest(PATIENCE):
        if isinstance(what, Lost):
            on_remark(f"{called}: {what.reason}; it is asked again until it answers")
            tell({"event": "lost", "camera": called, "at": timestamp(what.at), "reason": what.reason}, None)
        elif isinstance(what, Back):
            on_remark(f"{called} is back")
            tell({"event": "back", "camera": called, "at": timestamp(what.at)}, None)
        elif what is None:
            for event in visits.unseen(monotonic()):
                tell(event, None)
        else:
            try:
                pixels = what.pixels()
            except ImageError as error:  # the next one may be sound
                count.refused += 1
                if count.refused == 1:
                    on_remark(f"{called}: a frame is passed over: {error}")
                for event in visits.unseen(what.clock):
                    tell(event, None)
                continue
            faces = task([_image(pixels)])
            count.looked_at += 1
            found = (matrix(faces["box_xyxy"]), faces["quality"].to_numpy(), matrix(faces["embedding"]))
            for event in visits.seen(Moment(what.at, what.clock, what.position), *found):
                count.entered += event["event"] == "enter"
                tell(event, what)


def _image(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Image:
    return Image(image_id="", pixels=pixels, scale=1.0, size=(pixels.shape[1], pixels.shape[0]))


def _width(task: Task) -> int:
    return int(task.schema.field("embedding").type.list_size)


def _teller(
    library: LibraryFiles,
    telling: Telling,
    on_event: Callable[[Event], None],
    on_remark: Callable[[str], None],
    closed: ExitStack,
) -> Callable[[Event, Frame | None], None]:
    """What gives an event, which stands in the log, to everybody; what cannot be is refused here, before anything is
    done. A disk that is full later stops no other way of telling it."""
    file = closed.enter_context(events.lines(events.check_lines(telling.out, library))) if telling.out else None
    folder = events.kept_in(telling.keep, library) if telling.keep else None
    hook = Webhook(telling.webhook, on_remark, telling.allow_http) if telling.webhook else None
    if hook is not None:
        closed.callback(hook.close)

    def tell(event: Event, frame: Frame | None) -> None:
        if folder and frame and event["event"] == "enter":
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{event['track']}"
            try:
                event = event | {"picture": str(events.keep(folder, name, frame.pixels()))}
            except (OSError, MusterError) as error:
                on_remark(f"the picture of an event is not kept: {getattr(error, 'strerror', None) or error}")
        line = json.dumps(event).encode()
        on_event(event)
        if file:
            try:
                file.write(line + b"\n")
            except OSError as error:
                on_remark(f"an event is not in {telling.out}: {error.strerror or error}")
        if hook:
            hook.send(f"{event['event']} at {event['at']}", line)

    return tell


@contextmanager
def _threads() -> Iterator[None]:
    """A core is left to the thread that decodes: where networks take all, frames are late."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, cores() - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
