"""A statement as a step of `sorbus plan`: shown verbatim, run by `sorbus apply`, or passed to the tables' owner."""

from __future__ import annotations

from psycopg import sql

from sorbus.connector import Step
from sorbus.errors import AuthError
from sorbus.postgres.connection import Connection, PostgresConnection, connect, postgres_errors


def statement_step(
    connection: PostgresConnection, where: str, what: str, statement: sql.SQL | sql.Composed, session: Connection
) -> Step:
    """The step that runs `statement`; if our role may not, its AuthError contains the text for the tables' owner."""
    text = statement.as_string(session)

    def run() -> None:
        with connect(connection, "apply", autocommit=True) as own:
            try:
                with postgres_errors(what):
                    own.execute(statement)
            except AuthError as error:
                raise AuthError(f"{error}\n  let the tables' owner run:\n    {text};") from error

    return Step(where, what, text, run)
