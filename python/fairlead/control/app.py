"""The two ASGI applications: one for the private Unix socket, one for the admin port.

A route is a line in a table: method, path, what it asks of its caller, and the function that answers. What is in no table is refused.
"""

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fairlead.control import (
    account_keys,
    activity,
    analytics,
    books,
    content,
    credits,
    explain,
    generation,
    health,
    key,
    keys,
    models,
    operations,
    owners,
    payments,
    requests,
    usage,
)
from fairlead.control.access import Access, Principal, admin_principal, authorise, private_principal
from fairlead.control.db import scopes
from fairlead.control.desk import Call, Desk
from fairlead.control.replies import Refusal, Shape, not_found, shape_of, store_fails

log = logging.getLogger("fairlead.control")

Answer = Callable[[Call], Awaitable[Response]]
Identify = Callable[[Request], Principal | None]


class Resource(NamedTuple):
    """One line of the table."""

    method: str
    path: str
    access: Access
    answer: Answer


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


def _owned(path: str, kind: str) -> tuple[Resource, ...]:
    one = f"/admin/{path}/{{selector}}"
    return (
        Resource("GET", f"/admin/{path}", Access.OPERATOR, owners.listing(kind)),
        Resource("POST", f"/admin/{path}", Access.OPERATOR, owners.create(kind)),
        Resource("GET", one, Access.OPERATOR, owners.show(kind)),
        Resource("PATCH", one, Access.OPERATOR, owners.change(kind)),
        Resource("DELETE", one, Access.OPERATOR, owners.delete(kind)),
    )


ADMIN: tuple[Resource, ...] = (
    Resource("GET", "/healthz", Access.ANYONE, operations.healthz),
    Resource("GET", "/metrics", Access.OPERATOR, operations.metrics),
    Resource("GET", "/admin/status", Access.OPERATOR, operations.status),
    Resource("POST", "/admin/reload", Access.OPERATOR, operations.reload),
    Resource("GET", "/admin/health", Access.OPERATOR, health.show),
    Resource("DELETE", "/admin/health", Access.OPERATOR, health.forget),
    Resource("POST", "/admin/explain", Access.OPERATOR, explain.show),
    Resource("GET", "/admin/requests", Access.OPERATOR, requests.listing),
    Resource("GET", "/admin/requests/{id}", Access.OPERATOR, requests.show),
    Resource("GET", "/admin/requests/{id}/content", Access.OPERATOR, content.show_any),
    Resource("GET", "/admin/usage", Access.OPERATOR, usage.show),
    Resource("GET", "/admin/keys", Access.OPERATOR, keys.listing),
    Resource("POST", "/admin/keys", Access.OPERATOR, keys.create),
    Resource("GET", "/admin/keys/{selector}", Access.OPERATOR, keys.show),
    Resource("PATCH", "/admin/keys/{selector}", Access.OPERATOR, keys.change),
    Resource("DELETE", "/admin/keys/{selector}", Access.OPERATOR, keys.delete),
    *_owned("accounts", scopes.ACCOUNT),
    *_owned("teams", scopes.TEAM),
    *_owned("users", scopes.USER),
    Resource("GET", "/admin/credits", Access.OPERATOR, credits.listing),
    Resource("POST", "/admin/credits", Access.OPERATOR, credits.create),
    Resource("POST", "/admin/credits/{id}/refund", Access.OPERATOR, credits.refund),
    Resource("GET", "/admin/ledger", Access.OPERATOR, books.page),
    # Its credential is the signature of the body.
    Resource("POST", "/webhooks/stripe", Access.ANYONE, payments.stripe),
)


def private_app(desk: Desk) -> Starlette:
    """For the Unix socket: what the data plane forwards, and the operator's routes for commands."""
    forwarded = [resource._replace(path=prefix + resource.path) for prefix in PREFIXES for resource in FORWARDED]
    return _app(desk, (*forwarded, *GEMINI, *ADMIN), lambda request: private_principal(request.scope["headers"]))


def admin_app(desk: Desk) -> Starlette:
    """For the admin port: the operator's routes only."""
    return _app(desk, ADMIN, lambda request: admin_principal(request.scope["headers"], desk.admin_token_digest))


def _app(desk: Desk, resources: Sequence[Resource], identify: Identify) -> Starlette:
    by_path: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        by_path.setdefault(resource.path, {})[resource.method] = resource
    routes = [Route(path, _endpoint(desk, methods, identify), methods=list(methods)) for path, methods in by_path.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _unrouted(identify)})
    # A redirect would be built from the Host header.
    app.router.redirect_slashes = False
    return app


def _endpoint(desk: Desk, methods: dict[str, Resource], identify: Identify) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        # Starlette adds HEAD beside GET.
        resource = methods["GET" if request.method == "HEAD" else request.method]
        principal = identify(request)
        try:
            if (refusal := authorise(resource.access, principal)) is not None:
                raise refusal
            return await resource.answer(Call(desk, request, principal))
        except Refusal as refusal:
            return refusal.reply(_shape(request))
        except sqlite3.OperationalError as error:
            log.error("%s %s: the database fails: %s", resource.method, resource.path, error)
            return store_fails(error).reply(_shape(request))
        except Exception:
            log.exception("%s %s failed", resource.method, resource.path)
            return Refusal(500, "server", "internal error; the log has the details").reply(_shape(request))

    return endpoint


def _unrouted(identify: Identify) -> Callable[[Request, Exception], Response]:
    """Paths and methods that no route has. Who is nobody is not told which exist."""

    def handler(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if (refusal := authorise(Access.CATALOGUE, identify(request))) is not None:
            return refusal.reply(_shape(request))
        method, path = request.method, request.scope["path"]
        if status == 405:
            allowed = (error.headers or {}) if isinstance(error, HTTPException) else {}
            return Refusal(405, "invalid_request", f"{path} does not take {method}").reply(_shape(request), allowed)
        return not_found(f"there is no {method} {path} here").reply(_shape(request))

    return handler


def _shape(request: Request) -> Shape:
    return shape_of(request.scope["path"], request.headers)
