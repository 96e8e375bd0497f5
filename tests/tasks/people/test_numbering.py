import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.people.numbering import inherit_ids

LABELLED = st.lists(st.tuples(st.integers(-1, 5), st.sampled_from(["", "old1", "old2", "old3", "old4"])), max_size=20)


def named(rows):
    labels = np.array([label for label, _ in rows], int)
    faces = [f"face{i:02}" for i in range(len(rows))]
    return labels, faces, {face: old for face, (_, old) in zip(faces, rows, strict=True) if old}


@given(LABELLED, st.randoms(use_true_random=False))
def test_ids_name_clusters_one_to_one_in_any_order(rows, random):
    labels, faces, previous = named(rows)
    ids = inherit_ids(labels, faces, previous)
    assert all((name is None) == (label == -1) for name, label in zip(ids, labels, strict=True))
    both = {(label, name) for label, name in zip(labels.tolist(), ids, strict=True) if label >= 0}
    assert len(both) == len({label for label, _ in both}) == len({name for _, name in both})
    order = random.sample(range(len(rows)), len(rows))
    renumbered = np.where(labels >= 0, 7 - labels, -1)
    again = inherit_ids(renumbered[order], [faces[i] for i in order], previous)
    assert again == [ids[i] for i in order]


@given(LABELLED)
def test_an_old_id_goes_to_the_larger_overlap(rows):
    """No cluster and old id that did not get each other overlap more than what both have got."""
    labels, faces, previous = named(rows)
    ids = dict(zip(labels.tolist(), inherit_ids(labels, faces, previous), strict=True))
    overlap = {}
    for label, face in zip(labels.tolist(), faces, strict=True):
        if label >= 0 and face in previous:
            overlap[label, previous[face]] = overlap.get((label, previous[face]), 0) + 1
    holder = {name: label for label, name in ids.items() if name}
    for (label, old), shared in overlap.items():
        assert shared <= max(overlap.get((label, ids[label]), 0), overlap.get((holder.get(old), old), 0))


@given(LABELLED)
def test_ids_stay_when_nothing_changes(rows):
    labels, faces, previous = named(rows)
    ids = inherit_ids(labels, faces, previous)
    kept = {face: name for face, name in zip(faces, ids, strict=True) if name}
    assert inherit_ids(labels, faces, kept) == ids
    more = np.append(labels, [0, 9, 9])
    assert inherit_ids(more, [*faces, "new1", "new2", "new3"], kept)[: len(ids)] == ids


def test_a_new_id_is_not_one_that_was_taken():
    fresh = inherit_ids(np.array([0, 0]), ["a", "b"], {})[0]
    assert fresh == hashlib.sha256(b"a").hexdigest()[:12]
    assert inherit_ids(np.array([0, 0]), ["a", "b"], {"gone": fresh})[0] not in (fresh, None)
