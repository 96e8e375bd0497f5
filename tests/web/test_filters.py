import string
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from muster.web.album import Photo
from muster.web.filters import Filters, filters_of

SHOWN = [f"with {number}" for number in range(200)]  # more than there are letters


def photo(number: int) -> Photo:
    return Photo(
        image_id=f"{number}",
        uri=f"/{number}.jpg",
        width=1,
        height=1,
        taken_at=datetime(2020, 1, 1),
        camera=None,
        sha256="",
        shard="",
    )


def decoded(text: str, filters: Filters) -> dict[frozenset[str], int]:
    """What filters.js makes of it: what photos show → how many show just that."""
    words = {chip.mark: chip.words for chip in filters.chips}
    parts = [(part.rstrip(string.digits), part) for part in text.split()]
    return {frozenset(map(words.__getitem__, marks)): int(part[len(marks) :] or 1) for marks, part in parts}


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.sets(st.sampled_from(SHOWN), max_size=80)), max_size=8), max_size=4
    )
)
def test_counts_are_of_photos_and_what_is_encoded_can_be_read(pages: list[list[tuple[int, set[str]]]]) -> None:
    labels = {f"{number}": shown for page in pages for number, shown in page}
    photos = [[photo(number) for number, _ in page] for page in pages]
    filters = filters_of(photos, labels)
    assert {chip.words: chip.count for chip in filters.chips} == {
        words: sum(words in shown for shown in labels.values())
        for words in SHOWN
        if any(words in shown for shown in labels.values())
    }
    assert filters.chips == sorted(filters.chips, key=lambda chip: (-chip.count, chip.words))
    seen = [frozenset(shown) for shown in labels.values() if shown]
    assert decoded(filters.photos, filters) == {shown: seen.count(shown) for shown in seen}
    for page, encoded in zip(photos, filters.pages, strict=True):
        assert set(decoded(encoded, filters)) == {frozenset(labels[p.image_id]) for p in page if labels[p.image_id]}
    for image_id, shown in labels.items():
        assert set(decoded(filters.encode([photo(int(image_id))]), filters)) == ({frozenset(shown)} if shown else set())


def test_photos_of_which_nothing_is_known() -> None:
    filters = filters_of([[photo(1)], [photo(2)]], {})
    assert (filters.chips, filters.photos, filters.pages) == ([], "", ["", ""])
