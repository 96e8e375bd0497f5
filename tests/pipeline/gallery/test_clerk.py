"""One thread answers many askers."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.enrolled import enrolled, probes
from muster.errors import MusterError, NotEnrolledError
from muster.pipeline.gallery.clerk import TOGETHER, Clerk
from muster.pipeline.gallery.desk import IDENTIFY, VERIFY, Answer, Desk, Question
from muster.storage.gallery import audit
from muster.storage.library import open_library


def test_many_askers_have_their_own_answers_and_lines(tmp_path: Path) -> None:
    library = enrolled(tmp_path / "L", range(40))
    clerk = Clerk(Desk(open_library(library.uri)))
    before = len(audit.entries(library))

    def ask(number: int) -> str:
        answer = clerk.ask(Question(IDENTIFY, probes(number % 40), noted={"asked": number})).result(timeout=60)
        assert f'"asked": {number},' in (tmp_path / "L" / "audit" / audit_file).read_text()
        return answer.rows[0]["person_id"]

    [audit_file] = [name for name in library.names("audit") if name.endswith(".jsonl")]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(100))) == [f"S{number % 40}" for number in range(100)]
    clerk.close()
    lines = audit.entries(library)[before:]
    assert sorted(line["asked"] for line in lines) == list(range(100))


class SlowDesk:
    """Answers once `go` is set, and keeps how many questions came together."""

    def __init__(self) -> None:
        self.go, self.together = threading.Event(), list[int]()

    def answer(self, questions: Sequence[Question]) -> list[Answer | MusterError]:
        self.go.wait(60)
        self.together.append(len(questions))
        if any(question.action == "broken" for question in questions):
            raise OSError("the disk is gone")
        return [NotEnrolledError(q.person) if q.kind == VERIFY else Answer(remark=q.action) for q in questions]


def test_what_waits_is_answered_together_and_what_fails_fails_alone() -> None:
    desk = SlowDesk()
    clerk = Clerk(desk)  # type: ignore[arg-type]
    futures = [clerk.ask(Question(IDENTIFY, action=f"{number}")) for number in range(2 * TOGETHER)]
    futures.append(clerk.ask(Question(VERIFY, person="S1")))
    desk.go.set()
    assert [future.result(60).remark for future in futures[:-1]] == [f"{n}" for n in range(2 * TOGETHER)]
    with pytest.raises(NotEnrolledError):
        futures[-1].result(60)
    assert max(desk.together) == TOGETHER
    assert len(desk.together) <= 4
    with pytest.raises(MusterError, match="OSError: the disk is gone") as failed:
        clerk.ask(Question(IDENTIFY, action="broken")).result(60)
    assert isinstance(failed.value.__cause__, OSError)
    assert clerk.ask(Question(IDENTIFY, action="on")).result(60).remark == "on"
    desk.go.clear()
    futures = [clerk.ask(Question(IDENTIFY, action="on")) for _ in range(2)]
    assert futures[1].cancel()  # of an asker who is gone
    desk.go.set()
    assert futures[0].result(60).remark == "on"
    late = clerk.ask(Question(IDENTIFY, action="last"))
    clerk.close()
    assert late.result(0).remark == "last"
