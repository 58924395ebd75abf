"""`python -m tests.sql.regenerate` writes sql/*/schema.sql anew, from databases made by the migrations."""

import tempfile
from pathlib import Path

from mailproxy.config import database_at
from sql.dump import dump
from sql.migrate import migrate
from tests.support import postgres

SQL = Path(__file__).parents[2] / "sql"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres.server() as server,
        postgres.database(server) as url,
    ):
        for address in (f"{folder}/mail.db", url):
            database = database_at(address)
            migrate(database)
            (SQL / database.kind / "schema.sql").write_text(dump(database))


if __name__ == "__main__":
    main()
