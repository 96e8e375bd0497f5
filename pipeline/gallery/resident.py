"""The network of faces, loaded once, for photos that come one by one from many askers."""

import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import torch

from muster.arrays import F32, matrix
from muster.errors import ImageError, MusterError
from muster.pipeline.gallery.answers import Probes
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine, cores
from muster.pipeline.work.worker import Ceilings, apply, image_of
from muster.storage.photos import decode
from muster.storage.photos.decode import Photo
from muster.storage.photos.rendered import pixels_at_most

TOGETHER = 16  # photos that the network sees at once, as in a run
WAITING = 256  # photos that wait at most: those of some seconds
THREADS = 8  # at most: more only wait for Python


class BusyError(MusterError):
    """More is asked than this machine can do: ask again later."""


@dataclass(frozen=True)
class Seen:
    """A photo that was looked at. `faces`: rows of the task, best first, without their `embeddings` (N, D). `size`:
    (width, height) in pixels; boxes and landmarks are in them."""

    faces: list[dict[str, Any]]
    embeddings: F32
    size: tuple[int, int]
    sha256: str
    taken: datetime | None


def probes_of(seen: Sequence[tuple[str, Seen]]) -> Probes:
    """The faces of at least one photo, each under its name; "no face" of those without one."""
    rows = [
        {"image": image, "face": number, "quality": face["quality"], "box_xyxy": face["box_xyxy"]}
        for image, each in seen
        for number, face in enumerate(each.faces)
    ]
    errors = [{"image": image, "reason": "no face"} for image, each in seen if not each.faces]
    return Probes(rows, np.concatenate([each.embeddings for _, each in seen]), errors)


class Resident:
    """Threads that each take what photos wait, up to TOGETHER, decode them and look at them at once: nobody waits for
    others to come, and where many wait they are looked at together.

    `most_pixels`: of a photo.
    """

    def __init__(self, choice: TaskChoice, machine: Machine, most_pixels: int) -> None:
        """The weights are there (`fetch_weights`)."""
        device = machine.torch_device
        if device.type == "cpu":
            torch.set_num_threads(1)  # as in a worker: threads that share one photo cost more than they save
        self.task = choice.load(device, machine.weights_dir)
        self.most_pixels = most_pixels
        self.problem = ""  # why no photo can be looked at any more
        self._ceilings: Ceilings = {}
        self._waiting: queue.Queue[tuple[bytes, Future[Seen]] | None] = queue.Queue(WAITING)
        count = min(cores(), THREADS) if device.type == "cpu" else 2  # one decodes while the other's photos are there
        self._threads = [threading.Thread(target=self._work, daemon=True, name="resident") for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, data: bytes) -> "Future[Seen]":
        """Of a photo's bytes; its future raises ImageError. BusyError where too many wait."""
        future: Future[Seen] = Future()
        try:
            self._waiting.put_nowait((data, future))
        except queue.Full:
            raise BusyError(f"{WAITING} photos are waiting to be looked at: ask again in a second") from None
        return future

    def close(self) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def depth(self) -> int:
        """How many photos wait."""
        return self._waiting.qsize()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            taken = deque([first])
            while len(taken) < TOGETHER:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._waiting.put(None)
                    break
                taken.append(more)
            self._look([each for each in taken if each[1].set_running_or_notify_cancel()])

    def _look(self, taken: Sequence[tuple[bytes, "Future[Seen]"]]) -> None:
        photos: dict[str, tuple[Photo, Future[Seen]]] = {}
        for number, (data, future) in enumerate(taken):
            try:
                with pixels_at_most(self.most_pixels):
                    photos[str(number)] = decode.decode(data, self.task.max_side), future
            except ImageError as error:
                future.set_exception(error)
            except Exception as error:  # such as MemoryError: whoever waits is told, and the thread goes on
                fault = MusterError(f"the photo cannot be looked at: {type(error).__name__}")
                fault.__cause__ = error
                future.set_exception(fault)
        if not photos:
            return
        try:
            table, failed = apply(self.task, [image_of(i, photo) for i, (photo, _) in photos.items()], self._ceilings)
        except Exception as error:  # a GPU that is lost: whoever asks is told, and the process has to be started anew
            self.problem = f"the network cannot look at photos any more: {error}"
            for _, future in photos.values():
                future.set_exception(MusterError(self.problem))
            return
        vectors, owners = matrix(table["embedding"]), np.array(table["image_id"].to_pylist(), str)
        rows = table.drop_columns(["image_id", "embedding"]).to_pylist()
        errors = {row["image_id"]: ImageError("task", row["error"]) for row in failed}
        for name, (photo, future) in photos.items():
            if name in errors:
                future.set_exception(errors[name])
                continue
            mine = np.flatnonzero(owners == name)
            faces = [rows[i] for i in mine]
            future.set_result(Seen(faces, vectors[mine], photo.size, photo.sha256, photo.taken_at))
