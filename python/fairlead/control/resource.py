"""What a route is: a line in a table. What is in no table is refused."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.responses import Response

from fairlead.control.access import Access
from fairlead.control.desk import Call

Answer = Callable[[Call], Awaitable[Response]]


class Resource(NamedTuple):
    """One line of the table. What stands behind `answer` describes the route (`operator.description`)."""

    method: str
    path: str
    access: Access
    answer: Answer
    reply: Any = None
    """The type of a good reply's JSON; None: no JSON."""
    body: Any = None
    """The type of the JSON that it takes."""
    query: Any = None
    """A struct of what the query string may say."""
    status: int = 200
    """Of a good reply."""
    media: str = "application/json"
    """Of a good reply."""
    says: str = ""
    """What it does. Empty: the first sentence of the function's own description."""
    is_edit: bool = False
    """Whether it changes what has an ETag, so that `If-Match` counts."""
