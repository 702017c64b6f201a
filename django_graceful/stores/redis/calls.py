"""Commands on a connection of a pool, one by one or many in one round trip.

As redis-py does it, but a connection on which anything went wrong between a question and its answer is closed, also
when that was a signal's exception (a job that is being cancelled): a later question must not get an earlier answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError


def call(client: Any, *command: Any) -> Any:
    """Send one command; its answer. Raises what redis-py raises."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command(*command)
        return connection.read_response()
    except ResponseError:
        raise
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def call_each(client: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Send many commands at once; their answers in order, errors that the server answered among them."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_answer(connection) for _ in commands]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
