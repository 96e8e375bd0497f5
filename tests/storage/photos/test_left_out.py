"""Patterns of users, and the words for what is left out."""

import time
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from muster.storage.photos.left_out import PHOTOS, Rules, line, lines, said

GLOBS = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "[ab]", "?"]), min_size=1, max_size=5)
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=6)


def fits(globs: list[str], parts: list[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(fits(globs[1:], parts[start:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and fits(globs[1:], parts[1:])


@given(globs=GLOBS, names=NAMES)
def test_a_pattern_fits_a_path_folder_by_folder(globs: list[str], names: list[str]) -> None:
    rules = Rules("photos", excluded=[line("/" + "/".join(globs))])
    assert (rules.kind("/".join(names), True) == "excluded") == fits(globs, names)


@given(globs=GLOBS, names=NAMES)
def test_the_last_line_that_speaks_of_it_counts(globs: list[str], names: list[str]) -> None:
    pattern = "/" + "/".join(globs)
    rules = Rules("photos", lines={"": lines(f"*\n{pattern}\n!{pattern}\n")})
    assert (rules.kind("/".join(names), False) is None) == fits(globs, names)


def test_no_pattern_takes_long() -> None:
    """Who writes a folder writes its .musterignore."""
    began = time.monotonic()
    rules = Rules("photos", excluded=[line("**/" * 200 + "*a" * 60 + "b")])
    assert rules.kind("/".join(["a" * 200] * 40), False) is None
    assert time.monotonic() - began < 2


def test_what_is_said() -> None:
    left_out = {"recycle bins": 1, "thumbnails": 1200, "excluded": 0, ".nomedia": 1, ".musterignore": 2, "hidden": 3}
    assert said(left_out, {"": 2, ".json": 5, ".psb": 1, "rows without uri": 1}) == [
        *("1 recycle bin", "1,200 folders of thumbnails", "0 excluded", "1 folder with .nomedia"),
        *("2 by .musterignore", "3 hidden", "1 .psb", "5 .json", "2 without a suffix", "1 row without uri"),
    ]
    many = said({}, {f".{number:02d}": 2 for number in range(20)} | {".psb": 1})
    assert many[0] == "1 .psb"  # a photo, and not among what is commonest
    assert many[-1] == "18 of 9 other suffixes"
    assert len(many) == 13
    assert not said({}, {})
    assert PHOTOS not in said({"snapshots": 2}, {})
