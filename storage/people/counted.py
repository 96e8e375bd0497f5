"""What counted when faces were clustered, and whether all of it does still."""

import json

from muster.storage.people.known import Known
from muster.storage.people.ledger import Ledger


def counted(ledger: Ledger) -> str:
    """What counts now, for `still_counts`: the last edit, and which were taken back."""
    return json.dumps({"last": max(ledger.edits, default=""), "taken_back": sorted(_taken_back(ledger.known))})


def still_counts(before: str, known: Known) -> bool:
    """Whether all that counted then does now, whatever was said since."""
    state = json.loads(before)
    back = {edit for edit in _taken_back(known) if edit.partition("+")[0] <= state["last"]}
    return back <= set(state["taken_back"])


def _taken_back(known: Known) -> set[str]:
    """Edits, and with a number of faces those of which only these were taken back."""
    return known.taken_back | {f"{edit}+{len(faces)}" for edit, faces in known.partly.items()}
