from datetime import date

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.ask.query import Dated, Filter, Has, Named, Number, Query, Scene
from muster.storage.ask.sql import lacking, literal, plural, sql
from muster.storage.search.dates import Dates


def test_a_query_as_sql() -> None:
    filters = (
        Filter((Named("person", ("Anna",)), Named("thing", ("dog", "cat")))),
        Filter((Has("people"),), negated=True),
        Filter((Dated(Dates(date(2019, 1, 1), date(2020, 1, 1))),)),
    )
    assert sql(Query("count", "photo", filters)) == (
        "WITH chosen AS (\n    SELECT * FROM photos\n"
        "    WHERE (image_id IN (SELECT image_id FROM people WHERE coalesce(name, person) = 'Anna')"
        " OR image_id IN (SELECT image_id FROM things WHERE label IN ('dog', 'cat')))\n"
        "    AND ((persons > 0 OR image_id IN (SELECT image_id FROM things WHERE label = 'person'))) IS NOT TRUE\n"
        "    AND taken_at >= TIMESTAMP '2019-01-01' AND taken_at < TIMESTAMP '2020-01-01'\n"
        ")\nSELECT count(*) AS photos FROM chosen"
    )


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Number("persons", 2, 2), "persons = 2"),
        (Number("faces", 1, None), "faces >= 1"),
        (Number("persons", 0, 2), "persons BETWEEN 0 AND 2"),
        (Has("favourite"), "favourite"),
        (Has("place"), "town IS NOT NULL"),
        (Has("taken_at"), "taken_at IS NOT NULL"),
        (Dated(Dates(months=(6, 7, 8))), "month(taken_at) IN (6, 7, 8)"),
        (Dated(Dates(None, date(2019, 5, 1))), "taken_at < TIMESTAMP '2019-05-01'"),
        (Named("camera", ("X",)), "camera = 'X'"),
        (Named("folder", ("/a", "/b")), "folder IN ('/a', '/b')"),
        (Named("album", ("A",)), "kind = 'album' AND tag = 'A'"),
        (Named("place", ("Lisbon, Portugal",), ("town",)), "kind = 'town' AND name = 'Lisbon, Portugal'"),
        (Scene(("night",)), "kind = 'scenes' AND label = 'night'"),
    ],
)
def test_conditions(condition: Named | Dated | Number | Has | Scene, text: str) -> None:
    assert text in sql(Query("photos", "photo", (Filter((condition,)),)))


def test_groups_of_which_nothing_is_known_are_counted_apart() -> None:
    assert lacking(Query("groups", "year")) == (
        "WITH chosen AS (\n    SELECT * FROM photos\n)\nSELECT count(*) FROM chosen WHERE taken_at IS NULL"
    )
    assert "town IS NULL" in str(lacking(Query("count", "place")))
    assert lacking(Query("groups", "person")) is lacking(Query("count")) is lacking(Query("yes")) is None


def test_plurals() -> None:
    assert [plural("person"), plural("country"), plural("day")] == ["people", "countries", "days"]


@given(st.text())
def test_a_text_in_a_statement_is_itself(text: str) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):
        return  # Arrow holds none
    with duckdb.connect(":memory:") as connection:
        assert connection.sql(f"SELECT {literal(text)} AS text").to_arrow_table()["text"][0].as_py() == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_name_stays_within_its_quotes(name: str) -> None:
    statement = sql(Query("count", "photo", (Filter((Named("person", (name,)),)),)))
    photos, people = pa.table({"image_id": ["0", "1"]}), pa.table({"image_id": ["0"], "person": ["x"], "name": [name]})
    with duckdb.connect(":memory:") as connection:
        connection.register("photos", photos)
        connection.register("people", people)
        assert len(connection.extract_statements(statement)) == 1
        assert connection.sql(statement).fetchall() == [(1,)]
