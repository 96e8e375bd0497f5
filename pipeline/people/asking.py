"""A question about a library, answered from its tables."""

from muster.pipeline.people.searching import opened_with_people
from muster.storage.ask.ask import Answer, ask
from muster.storage.ask.views import FACES, Views, views
from muster.storage.library import LibraryFiles


def asked(library: LibraryFiles, question: str, model: str | None = None) -> tuple[Answer, Views]:
    """`model`: whose faces; None: the library's. NotYetError where no photo was looked at; InputError for a question
    that is empty or too long."""
    search, faces, names = opened_with_people(library, model)
    found = views(search.index, faces.select(FACES.names), names, search.labels)
    return ask(found, question), found
