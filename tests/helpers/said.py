"""What users might say, and whether labels keep to it."""

import numpy as np
from hypothesis import strategies as st

from muster.tasks.people.said import Said


@st.composite
def sayings(draw, n, people=4):
    """Of n faces, anything that may be said: named, shown, excluded, also against each other."""
    groups = draw(st.lists(st.integers(0, people - 1), min_size=1, max_size=6))

    def numbers(count):
        return np.array(draw(st.lists(st.sampled_from([-1, -1, *range(count)]), min_size=n, max_size=n)), np.int64)

    pair = st.tuples(st.integers(0, max(0, n - 1)), st.integers(0, people - 1))
    pairs = draw(st.lists(pair, max_size=10)) if n else []
    excluded = np.array(pairs, np.int64).reshape(-1, 2)
    return Said(numbers(people), excluded, numbers(len(groups)), np.array(groups))


def said_of(n, person=(), excluded=(), shown=(), groups=None):
    """Of n faces: who the rows of `person` are, a dict; pairs of rows and people; the groups of rows, by default each
    that of the person of its number."""
    rows = np.full((2, n), -1)
    for each, values in zip(rows, (person, shown), strict=True):
        for row, number in dict(values).items():
            each[row] = number
    groups = np.arange(rows[1].max(initial=-1) + 1) if groups is None else np.array(groups)
    return Said(rows[0], np.array(excluded, np.int64).reshape(-1, 2), rows[1], groups)


def violations(labels, people, said):
    """What of `labels` (N,), of which each is the person beside it in `people`, is against what was said."""
    found = []
    who = np.append(people, -1)[labels]  # -1 for a face alone
    for face, person in enumerate(said.person.tolist()):
        if person >= 0 and who[face] != person:
            found.append(f"face {face} is {person}, not {who[face]}")
    for face, person in said.excluded.tolist():
        if said.person[face] != person and who[face] == person:
            found.append(f"face {face} is not {person}")
    named = people[people >= 0].tolist()
    if len(set(named)) < len(named):
        found.append(f"a person is in two clusters: {named}")
    return found
