"""One thread at the desk for many askers: whatever waits is answered together, with one write of the log."""

import queue
import threading
from concurrent.futures import Future

from muster.errors import MusterError
from muster.pipeline.gallery.desk import Answer, Desk, Question

TOGETHER = 64  # questions that one write answers


class Clerk:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._waiting: queue.Queue[tuple[Question, Future[Answer]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="clerk")
        self._thread.start()

    def ask(self, question: Question) -> "Future[Answer]":
        """Its line is in the log when the answer is there; the future raises MusterError where there is none."""
        future: Future[Answer] = Future()
        self._waiting.put((question, future))
        return future

    def close(self) -> None:
        """Once all that waits is answered."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        going = True
        while going:
            taken = [self._waiting.get()]
            while len(taken) < TOGETHER and not self._waiting.empty():
                taken.append(self._waiting.get())
            going = None not in taken
            asked = [each for each in taken if each is not None]
            self._answer([each for each in asked if each[1].set_running_or_notify_cancel()])

    def _answer(self, taken: "list[tuple[Question, Future[Answer]]]") -> None:
        try:
            answers = self.desk.answer([question for question, _ in taken])
        except Exception as error:  # each asker is told; the thread goes on
            failed = error if isinstance(error, MusterError) else MusterError(f"{type(error).__name__}: {error}")
            if failed is not error:
                failed.__cause__ = error
            answers = [failed for _ in taken]
        for (_, future), answer in zip(taken, answers, strict=True):
            if isinstance(answer, MusterError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
