"""The schema as text: committed beside the migrations, and compared with what they make (sql/README.md)."""

from contextlib import closing
from importlib.resources import files

from mailproxy.config import Database
from sql import queries
from sql.migrate import connect_postgres
from sql.sqlite.engine import connect


def dump(database: Database) -> str:
    """The tables and indexes of a database as they are now."""
    (statement,) = queries.load(database.kind)["dump"].statements
    if database.path is not None:
        with closing(connect(database.path, read_only=True)) as sqlite:
            found = sqlite.execute(statement).fetchall()
    else:
        with connect_postgres(database) as postgres:
            found = postgres.execute(statement.encode()).fetchall()
    return "\n".join(str(text) for (text,) in found)


def committed(dialect: str) -> str:
    return files("sql").joinpath(dialect, "schema.sql").read_text()
