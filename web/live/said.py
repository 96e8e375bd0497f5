"""Who each face is now: clusters with the ledger applied, for the faces of `Columns`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from muster.web.live.columns import I32, Columns

NOBODY = -1


@dataclass(frozen=True)
class Said:
    """`person_of`: (F,), of each face its place in `person_ids`, or NOBODY. `names`, `born`, `covers` (row of a face):
    by person_id. `kept`: id of a person who was merged → the id that the person goes by now."""

    version: str
    person_of: I32
    person_ids: Sequence[str]
    names: Mapping[str, str] = field(default_factory=dict)
    born: Mapping[str, str] = field(default_factory=dict)
    covers: Mapping[str, int] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    kept: Mapping[str, str] = field(default_factory=dict)


def of_clusters(columns: Columns) -> Said:
    """Where nothing is said: every cluster is a person."""
    return Said("", columns.cluster, columns.cluster_ids)
