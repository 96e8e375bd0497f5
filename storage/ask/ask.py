"""Questions answered: `ask(views, "how many photos with Anna in 2019?")`."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from muster.storage.ask.grammar import parse
from muster.storage.ask.names import Names
from muster.storage.ask.nearest import nearest_questions
from muster.storage.ask.query import Query
from muster.storage.ask.reader import Meant, NotUnderstoodError
from muster.storage.ask.sql import lacking, sql
from muster.storage.ask.tokens import tokens
from muster.storage.ask.views import Views


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`query`, `sql`, `table`: None where the question is not understood; then `problem` says why, and `nearest` are
    questions that are. `meant`: its words, and what they were taken for. `lacking`: how many photos are in no group of
    the table, as their date, place or camera is not known."""

    question: str
    query: Query | None = None
    sql: str | None = None
    table: pa.Table | None = None
    lacking: int = 0
    meant: tuple[Meant, ...] = ()
    problem: str = ""
    nearest: tuple[str, ...] = ()


def ask(views: Views, question: str) -> Answer:
    """InputError where the question is empty or too long; whatever else is typed has an answer."""
    words, names = tokens(question), Names(views)
    try:
        query, meant = parse(words, names)
    except NotUnderstoodError as error:
        return Answer(question=question, problem=str(error), nearest=nearest_questions(words, names, error))
    missing = lacking(query)
    table, *others = _run(views.tables, [sql(query), *([missing] if missing else [])])
    left = others[0].column(0)[0].as_py() if others else 0
    return Answer(question=question, query=query, sql=sql(query), table=table, lacking=left, meant=tuple(meant))


def _run(tables: Mapping[str, pa.Table], statements: list[str]) -> list[pa.Table]:
    import duckdb  # most commands need none

    # No statement here reads a file or changes anything; that none can is one more lock on the door.
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return [connection.sql(statement).to_arrow_table() for statement in statements]
