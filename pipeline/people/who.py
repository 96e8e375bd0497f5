"""Who is who in a library now, by the faces of a model."""

from muster.errors import NotYetError
from muster.storage.library import LibraryFiles
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People
from muster.storage.who import claims_of, people_of, readable_images

__all__ = ["claims_of", "people_now", "readable_images"]


def people_now(library: LibraryFiles, model: str | None, ledger: Ledger | None = None) -> People:
    """`model`: whose faces; None: the library's. `ledger`: read already. InputError where there are no faces.

    Where nothing is clustered yet, people are those of whom somebody has spoken.
    """
    from muster.pipeline.people.faces import faces_fingerprint  # torch: the live page needs none of it

    found = people_of(library, faces_fingerprint(library, model), ledger)
    if found is None:
        raise NotYetError(f"library {library.uri} has no faces for its images yet", "run", library.uri)
    return found
