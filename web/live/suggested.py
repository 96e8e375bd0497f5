"""Questions: "the same person?", a page of them at a time, those first whose answers put most faces right.

The answers of a page are one edit: benchmarks/edits.py measures what that takes.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.arrays import I64
from muster.errors import InputError
from muster.storage.people import edits, facts
from muster.storage.people.facts import Fact
from muster.storage.people.ledger import ContradictionError
from muster.web.live.album import Moment
from muster.web.live.edits import Answer, Editor, route
from muster.web.live.render import Nav, show
from muster.web.words import count

FACES = 6  # of each that are shown
ANSWERS = ("yes", "no", "skip")


def questions(request: Request) -> Response:
    album, guesses = request.app.state.album, request.app.state.guesses
    guesses.start()
    with album.editing() as (moment, ledger):
        found = guesses.questions(moment, ledger.known)
    return show(
        request,
        "suggestions.html",
        ["suggestions.html"],
        moment=moment,
        questions=[_shown(moment, each) for each in found or []],
        waiting=found is None,
        trouble=guesses.trouble,
    )


def _shown(moment: Moment, asked: Any) -> dict[str, Any]:
    """The question, as a page has it."""
    return {
        "part": asked.part,
        "choices": [_side(moment, choice.faces, every=False) for choice in asked.choices],
        **_side(moment, asked.faces, every=asked.part),
    }


def _side(moment: Moment, rows: I64, every: bool) -> dict[str, Any]:
    """Some faces of one of the two. `ids`: of all of them where `every`, else of those that are shown."""
    best = sorted(rows.tolist(), key=lambda row: (-float(moment.columns.quality[row]), row))
    faces = [moment.face(row) for row in best[:FACES]]
    ids = [moment.columns.face_id[row].as_py() for row in best] if every else [face.face_id for face in faces]
    return {"who": moment.person_of(best[0]), "total": len(best), "faces": faces, "ids": ids}


def answers(editor: Editor) -> Answer:
    """`answers`: of each question `answer`: yes: `faces` are the person of `choices[0]`; no: of none of `choices`;
    skip: nobody knows. Faces are lists of face_ids.

    What contradicts an earlier edit, or an answer before it, is left out, and counted.
    """
    sent = editor.sent.get("answers")
    if not isinstance(sent, list) or not sent or not all(isinstance(each, dict) for each in sent):
        raise InputError("Answer a question first.")
    found = [_answer(Editor(editor.moment, editor.ledger, each, editor.by, editor.guesses)) for each in sent]
    said = list(dict.fromkeys(fact for each in found for fact in each))
    left_out = _recorded(editor, said)
    for each in sent:
        rows = editor.moment.columns.rows_of_faces
        editor.guesses.answered(rows(each["faces"]), [rows(choice) for choice in each["choices"]])
    done = f"{count(len(sent), 'question')} answered."
    return {
        "done": f"{done} {count(left_out, 'answer')} contradicted what was said, and was left out."
        if left_out
        else done
    }


def _recorded(editor: Editor, said: list[Fact]) -> int:
    """As one edit. How many facts were left out."""
    left_out = 0
    while said:
        try:
            editor.record(said)
            break
        except ContradictionError as error:
            wrong = [each.fact for each in error.conflicts]
            kept = [fact for fact in said if fact not in wrong]
            if len(kept) == len(said):  # an older fact is in the way of a redo: never of an answer
                raise
            left_out += len(said) - len(kept)
            said = kept
    return left_out


def _answer(editor: Editor) -> list[Fact]:
    does, faces, choices = editor.text("answer"), editor.faces(), _choices(editor)
    if does not in ANSWERS or not choices:
        raise InputError("Answer yes, no or skip.")
    if does == "skip":
        return []
    return _one(editor, faces, choices[0]) if does == "yes" else _apart(editor, faces, choices)


def _choices(editor: Editor) -> list[list[str]]:
    sent = editor.sent.get("choices")
    if not isinstance(sent, list):
        raise InputError("Answer yes, no or skip.")
    return [Editor(editor.moment, editor.ledger, {"faces": each}, editor.by, editor.guesses).faces() for each in sent]


def _one(editor: Editor, faces: list[str], choice: list[str]) -> list[Fact]:
    moment, people = editor.moment, editor.people
    who, other = moment.person_of_face(faces[0]), moment.person_of_face(choice[0])
    if other is None and who is None:
        return edits.moved(people, [*faces, *choice], edits.new_person())
    if other is None or who is None or who.cluster_id == other.cluster_id:
        known, lone = (other, faces) if other is not None else (who, choice)
        assert known is not None
        return edits.moved(people, lone, known.cluster_id)
    kept, gone = (who, other) if who.name and not other.name else (other, who)
    return edits.merged(people, kept.cluster_id, gone.cluster_id)


def _apart(editor: Editor, faces: list[str], choices: list[list[str]]) -> list[Fact]:
    moment, people, said = editor.moment, editor.people, list[Fact]()
    who = moment.person_of_face(faces[0])
    for choice in choices:
        other = moment.person_of_face(choice[0])
        if who is not None and other is not None and who.cluster_id == other.cluster_id:  # a part of a person
            new = edits.new_person()
            said += [*edits.moved(people, faces, new), facts.Different(who.cluster_id, new)]
        elif who is not None and other is not None:
            said += edits.different(people, who.cluster_id, other.cluster_id)
        elif other is not None:
            said += edits.barred(people, faces, other.cluster_id)
        elif who is not None:
            said += edits.barred(people, choice, who.cluster_id)
    return said


NAV = [Nav("suggestions.html", "Questions")]
ROUTES = [Route("/suggestions.html", questions), route("answers", answers)]
