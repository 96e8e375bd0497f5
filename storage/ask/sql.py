"""A query as SQL over the tables of `muster.storage.ask.views`, which a user may run too."""

from collections.abc import Iterable
from datetime import date

from muster.storage.ask.query import Condition, Dated, Filter, Has, Named, Number, Query, Scene, Unit

# Of each unit: what its rows are, and what it is called. A photo has many people, and one camera.
_TIMES = {"day": "CAST(taken_at AS DATE)", "month": "strftime(taken_at, '%B %Y')", "year": "strftime(taken_at, '%Y')"}
_COLUMNS = {"place": "town", **{name: name for name in ("region", "country", "camera", "folder")}, **_TIMES}
_TABLES = {
    "person": ("people", "coalesce(person, name)", "coalesce(max(name), max(person))", ""),
    "thing": ("things", "label", "label", "kind <> 'scenes' AND label <> 'person'"),
    "keyword": ("tags", "tag", "tag", "kind = 'keyword'"),
    "album": ("tags", "tag", "tag", "kind = 'album'"),
}
_NAMED = {"person": "coalesce(name, person)", "thing": "label"}
PLURALS = {"person": "people", "country": "countries"}


def plural(unit: Unit) -> str:
    return PLURALS.get(unit, f"{unit}s")


def literal(text: str) -> str:
    """A text in quotes, whatever is in it; a null character, which ends a statement, by its number."""
    return " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in text.split("\0"))


def sql(query: Query) -> str:
    """One statement. Its columns: of "count" the plural of the unit; of "photos" those of that table; of "groups" the
    unit and `photos`, how many show it, the most first, times in their order; of "first" and "last" `taken_at`; of
    "yes" `yes` and `photos`."""
    return f"{_chosen(query)}\n{_asked(query)}"


def lacking(query: Query) -> str | None:
    """How many of the photos are in no group, as nobody knows when, where or with what they were taken. None: where
    that is not the question."""
    timed = query.asked in ("first", "last") or query.unit in _TIMES
    column = "taken_at" if timed else _COLUMNS.get(query.unit)
    if column is None or query.asked in ("yes", "photos"):
        return None
    return f"{_chosen(query)}\nSELECT count(*) FROM chosen WHERE {column} IS NULL"


def _chosen(query: Query) -> str:
    where = "".join(f"\n    AND {_filter(each)}" for each in query.filters).replace("AND", "WHERE", 1)
    ranked = ""
    if many := query.oldest or query.newest:
        order = (
            "taken_at, uri, image_id" if query.oldest else "taken_at DESC, uri DESC, image_id DESC"
        )  # of a burst one
        where += "\n    AND taken_at IS NOT NULL" if where else "\n    WHERE taken_at IS NOT NULL"
        ranked = f"\n    QUALIFY row_number() OVER (ORDER BY {order}) <= {many}"
    return f"WITH chosen AS (\n    SELECT * FROM photos{where}{ranked}\n)"


def _asked(query: Query) -> str:
    if query.asked == "photos":
        order = "taken_at DESC, uri" if query.newest else "taken_at NULLS LAST, uri"
        return f"SELECT * FROM chosen\nORDER BY {order}"
    if query.asked in ("first", "last"):
        return f"SELECT {'min' if query.asked == 'first' else 'max'}(taken_at) AS taken_at FROM chosen"
    if query.asked == "yes":
        return "SELECT count(*) > 0 AS yes, count(*) AS photos FROM chosen"
    if query.unit == "photo":
        return "SELECT count(*) AS photos FROM chosen"
    source, key, label, where = _unit(query)
    if query.asked == "count":
        return f"SELECT count(DISTINCT {key}) AS {plural(query.unit)} FROM {source}{where}"
    ranked = f"\nQUALIFY rank() OVER (ORDER BY photos{' DESC' * (query.most == 'most')}) = 1" if query.most else ""
    first = "min(taken_at)" if query.unit in _TIMES else "photos DESC"
    return (
        f"SELECT {label} AS {query.unit}, count(DISTINCT image_id) AS photos\nFROM {source}{where}"
        f"\nGROUP BY {key}{ranked}\nORDER BY {first}, 1"
    )


def _unit(query: Query) -> tuple[str, str, str, str]:
    """Where the groups are, what they are told apart by and called, and the condition on them."""
    if query.unit in _COLUMNS:
        column = _COLUMNS[query.unit]
        return "chosen", column, column, f"\nWHERE {column} IS NOT NULL"
    table, key, label, where = _TABLES[query.unit]
    conditions = [where or f"{key} IS NOT NULL"]
    if query.but and query.unit in _NAMED:
        conditions.append(f"NOT {_among(_NAMED[query.unit], query.but)}")
    return f"chosen JOIN {table} USING (image_id)", key, label, "\nWHERE " + " AND ".join(conditions)


# ---- conditions ------------------------------------------------------------------------------------------------------


def _filter(each: Filter) -> str:
    text = " OR ".join(map(_condition, each.any_of))
    if each.negated:
        return f"({text}) IS NOT TRUE"
    return f"({text})" if len(each.any_of) > 1 else text


def _condition(each: Condition) -> str:
    match each:
        case Named():
            return _named(each)
        case Dated():
            return _dated(each)
        case Scene(labels):
            return f"image_id IN (SELECT image_id FROM things WHERE kind = 'scenes' AND {_among('label', labels)})"
        case Number(column, least, most):
            return f"{column} = {least}" if least == most else _between(column, least, most)
        case Has("favourite"):
            return "favourite"
        case Has("people"):
            return "(persons > 0 OR image_id IN (SELECT image_id FROM things WHERE label = 'person'))"
        case Has("place"):
            return "town IS NOT NULL"
        case Has(what):
            return f"{what} IS NOT NULL"


def _between(column: str, least: int, most: int | None) -> str:
    return f"{column} >= {least}" if most is None else f"{column} BETWEEN {least} AND {most}"


def _named(each: Named) -> str:
    if each.field in ("camera", "folder"):
        return _among(each.field, each.values)
    if each.field == "place":
        pairs = zip(each.values, each.kinds, strict=True)
        where = " OR ".join(f"kind = {literal(kind)} AND name = {literal(name)}" for name, kind in pairs)
        return f"image_id IN (SELECT image_id FROM places WHERE {where})"
    if each.field == "person":
        return f"image_id IN (SELECT image_id FROM people WHERE {_among('coalesce(name, person)', each.values)})"
    if each.field == "thing":
        return f"image_id IN (SELECT image_id FROM things WHERE {_among('label', each.values)})"
    tagged = f"kind = {literal(each.field)} AND {_among('tag', each.values)}"
    return f"image_id IN (SELECT image_id FROM tags WHERE {tagged})"


def _among(column: str, values: Iterable[str]) -> str:
    texts = [literal(value) for value in values]
    return f"{column} = {texts[0]}" if len(texts) == 1 else f"{column} IN ({', '.join(texts)})"


def _dated(each: Dated) -> str:
    when = each.when
    if when.months:
        return f"month(taken_at) IN ({', '.join(map(str, when.months))})"
    first, after = (None if day is None else _day(day) for day in (when.first, when.after))
    ends = [f"taken_at >= {first}" if first else "", f"taken_at < {after}" if after else ""]
    return " AND ".join(filter(None, ends))


def _day(day: date) -> str:
    return f"TIMESTAMP '{day.isoformat()}'"
