"""Questions: "the same person?", one at a time, those first whose answers put most faces right."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.arrays import I64
from muster.errors import InputError
from muster.storage.people import edits, facts
from muster.storage.people.facts import Fact
from muster.web.live.album import Moment
from muster.web.live.edits import Answer, Editor, route
from muster.web.live.render import Nav, show
from muster.web.words import count

FACES = 12  # of each that are shown
ANSWERS = ("yes", "no", "skip")


def question(request: Request) -> Response:
    album, guesses = request.app.state.album, request.app.state.guesses
    guesses.start()
    with album.editing() as (moment, ledger):
        found = guesses.questions(moment, ledger.known)
    asked = None if not found else _shown(moment, found[0])
    return show(
        request,
        "suggestions.html",
        ["suggestions.html"],
        moment=moment,
        asked_about=asked,
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


def answer(editor: Editor) -> Answer:
    """`answer`: yes: `faces` are the person of `choices[0]`; no: of none of `choices`; skip: nobody knows. `part`: they
    are in one cluster until now. Each is a list of face_ids."""
    does, faces, choices = editor.text("answer"), editor.faces(), _choices(editor)
    if does not in ANSWERS or not choices:
        raise InputError("Answer yes, no or skip.")
    rows = editor.moment.columns.rows_of_faces
    editor.guesses.answered(rows(faces), [rows(choice) for choice in choices])
    if does == "skip":
        return {"done": "Skipped."}
    if does == "yes":
        return _one(editor, faces, choices[0])
    return _apart(editor, faces, choices)


def _choices(editor: Editor) -> list[list[str]]:
    sent = editor.sent.get("choices")
    if not isinstance(sent, list):
        raise InputError("Answer yes, no or skip.")
    return [Editor(editor.moment, editor.ledger, {"faces": each}, editor.by, editor.guesses).faces() for each in sent]


def _one(editor: Editor, faces: list[str], choice: list[str]) -> Answer:
    moment, people = editor.moment, editor.people
    who, other = moment.person_of_face(faces[0]), moment.person_of_face(choice[0])
    if other is None and who is None:
        editor.record(edits.moved(people, [*faces, *choice], edits.new_person()))
        return {"done": "These are one person now."}
    if other is None or who is None or who.cluster_id == other.cluster_id:
        known, lone = (other, faces) if other is not None else (who, choice)
        assert known is not None
        editor.record(edits.moved(people, lone, known.cluster_id))
        return {"done": f"{count(len(lone), 'face')} of {known.title}."}
    kept, gone = (who, other) if who.name and not other.name else (other, who)
    editor.record(edits.merged(people, kept.cluster_id, gone.cluster_id))
    return {"done": f"{gone.title} and {kept.title} are one person now."}


def _apart(editor: Editor, faces: list[str], choices: list[list[str]]) -> Answer:
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
    if said:
        editor.record(list(dict.fromkeys(said)))
    return {"done": "Not the same."}


NAV = [Nav("suggestions.html", "Questions")]
ROUTES = [Route("/suggestions.html", question), route("answer", answer)]
