"""The two ASGI applications: one for the private Unix socket, one for the admin port.

A route is a line in a table: method, path, what it asks of its caller, and the function that answers. What is in no table is refused.
"""

import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fairlead import console
from fairlead.control import account_keys, activity, analytics, content, credits, generation, key, models, trail
from fairlead.control.access import Access, authorise, private_principal
from fairlead.control.db import TookLong
from fairlead.control.desk import Call, Desk
from fairlead.control.operator import gate, session
from fairlead.control.operator.session import Caller
from fairlead.control.operator.table import ADMIN
from fairlead.control.replies import Refusal, Shape, not_found, shape_of, store_fails
from fairlead.control.resource import Resource

__all__ = ["ADMIN", "FORWARDED", "GEMINI", "PREFIXES", "Resource", "admin_app", "private_app"]

log = logging.getLogger("fairlead.control")

Identify = Callable[[Request], Awaitable[Caller]]


# What the data plane forwards, below each of its prefixes.
FORWARDED: tuple[Resource, ...] = (
    Resource("GET", "/models", Access.CATALOGUE, models.listing),
    Resource("GET", "/models/count", Access.CATALOGUE, models.count),
    Resource("GET", "/models/user", Access.KEY, models.user),
    Resource("GET", "/models/{name:path}/endpoints", Access.CATALOGUE, models.endpoints),
    Resource("GET", "/models/{name:path}", Access.CATALOGUE, models.single),
    Resource("GET", "/endpoints/zdr", Access.CATALOGUE, models.endpoints_without_retention),
    Resource("GET", "/providers", Access.CATALOGUE, models.providers),
    Resource("GET", "/key", Access.KEY, key.show),
    Resource("GET", "/auth/key", Access.KEY, key.show),
    Resource("GET", "/keys", Access.MANAGEMENT, account_keys.listing),
    Resource("POST", "/keys", Access.MANAGEMENT, account_keys.create),
    Resource("GET", "/keys/{hash}", Access.MANAGEMENT, account_keys.show),
    Resource("PATCH", "/keys/{hash}", Access.MANAGEMENT, account_keys.change),
    Resource("DELETE", "/keys/{hash}", Access.MANAGEMENT, account_keys.delete),
    Resource("GET", "/generation", Access.KEY, generation.show),
    Resource("GET", "/generation/content", Access.KEY, content.show),
    Resource("GET", "/credits", Access.MANAGEMENT, credits.show),
    Resource("GET", "/activity", Access.MANAGEMENT, activity.show),
    Resource("GET", "/analytics/meta", Access.MANAGEMENT, analytics.meta),
    Resource("POST", "/analytics/query", Access.MANAGEMENT, analytics.query),
)
PREFIXES = ("/api/v1", "/v1")
GEMINI: tuple[Resource, ...] = (
    Resource("GET", "/v1beta/models", Access.CATALOGUE, models.listing),
    Resource("GET", "/v1beta/models/{name:path}", Access.CATALOGUE, models.single),
)


def private_app(desk: Desk) -> Starlette:
    """For the Unix socket: what the data plane forwards, and the operator's routes for commands."""

    async def identify(request: Request) -> Caller:
        return Caller(private_principal(request.scope["headers"]))

    forwarded = [resource._replace(path=prefix + resource.path) for prefix in PREFIXES for resource in FORWARDED]
    return _app(desk, (*forwarded, *GEMINI, *ADMIN), identify, over_socket=True)


def admin_app(desk: Desk) -> Starlette:
    """For the admin port: the operator's routes only."""

    async def identify(request: Request) -> Caller:
        return await session.caller(desk, request)

    return _app(desk, ADMIN, identify, over_socket=False)


def _app(desk: Desk, resources: Sequence[Resource], identify: Identify, over_socket: bool) -> Starlette:
    by_path: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        by_path.setdefault(resource.path, {})[resource.method] = resource
    endpoints = {path: _endpoint(desk, methods, identify, over_socket) for path, methods in by_path.items()}
    routes = [Route(path, endpoint, methods=list(by_path[path])) for path, endpoint in endpoints.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _unrouted(desk, identify, over_socket)})
    # A redirect would be built from the Host header.
    app.router.redirect_slashes = False
    return app


def _endpoint(desk: Desk, methods: dict[str, Resource], identify: Identify, over_socket: bool) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        # Starlette adds HEAD beside GET.
        resource = methods["GET" if request.method == "HEAD" else request.method]
        cookie = None
        try:
            # Its own credential is all that such a route looks at.
            principal, cookie = Caller(None) if resource.access is Access.ANYONE else await identify(request)
            if (refusal := authorise(resource.access, principal)) is not None:
                raise refusal
            trail.acting(trail.actor_of(principal, gate.address_of(request), over_socket))
            response = await resource.answer(Call(desk, request, principal))
        except Refusal as refusal:
            response = refusal.reply(_shape(request))
        except TookLong as error:
            response = Refusal(503, "server", f"{error}; ask for less: a shorter time, fewer groups").reply(_shape(request))
        except sqlite3.OperationalError as error:
            log.error("%s %s: the database fails: %s", resource.method, resource.path, error)
            response = store_fails(error).reply(_shape(request))
        except Exception:
            id = secrets.token_hex(8)
            log.exception("%s %s failed (request_id %s)", resource.method, resource.path, id)
            refused = Refusal(500, "server", f"internal error; the log has the details (request_id {id})", request_id=id)
            response = refused.reply(_shape(request))
        return _dressed(response, cookie, over_socket)

    return endpoint


def _unrouted(desk: Desk, identify: Identify, over_socket: bool) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Paths and methods that no route has: the console's pages on the admin port. Who is nobody is not told which others exist."""

    async def handler(request: Request, error: Exception) -> Response:
        return _dressed(*await answer(request, error), over_socket)

    async def answer(request: Request, error: Exception) -> tuple[Response, str | None]:
        status = error.status_code if isinstance(error, HTTPException) else 500
        try:
            if status == 404 and not over_socket and (page := _page(desk, request)) is not None:
                return page, None
            principal, cookie = await identify(request)
        except Refusal as refusal:
            return refusal.reply(_shape(request)), None
        except sqlite3.OperationalError as failure:
            return store_fails(failure).reply(_shape(request)), None
        if (refused := authorise(Access.CATALOGUE, principal)) is not None:
            return refused.reply(_shape(request)), cookie
        method, path = request.method, request.scope["path"]
        if status == 405:
            allowed = (error.headers or {}) if isinstance(error, HTTPException) else {}
            return Refusal(405, "invalid_request", f"{path} does not take {method}").reply(_shape(request), allowed), cookie
        return not_found(f"there is no {method} {path} here").reply(_shape(request)), cookie

    return handler


def _page(desk: Desk, request: Request) -> Response | None:
    """A file of the console; 421 for who found it by a name that is not ours."""
    if request.method not in ("GET", "HEAD") or (page := console.answer(request.scope["path"], request.headers)) is None:
        return None
    desk.gate.origin(request)
    return page


def _dressed(response: Response, cookie: str | None, over_socket: bool) -> Response:
    """With what every reply of the admin port has for browsers."""
    if not over_socket:
        for name, value in gate.HEADERS.items():
            response.headers[name] = value
    if cookie is not None:
        response.headers.append("set-cookie", cookie)
    return response


def _shape(request: Request) -> Shape:
    return shape_of(request.scope["path"], request.headers)
