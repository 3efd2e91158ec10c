"""Every route of the admin port, with the role that it asks for: the one table of who may do what.

A role may what those before it may: viewer, member, admin, owner. `anyone` is for routes that tell nothing, or that have a credential of
their own. Whose keys and requests a viewer or member sees is narrower still (`Principal.sees_all`).
"""

from fairlead.control import books, credits, explain, health, keys, operations, owners, payments, requests, usage
from fairlead.control.access import Access
from fairlead.control.db import scopes
from fairlead.control.operator import audit, session
from fairlead.control.resource import Resource

ANYONE, VIEWER, MEMBER, ADMIN_ROLE, OWNER = Access.ANYONE, Access.VIEWER, Access.MEMBER, Access.ADMIN, Access.OWNER


def _owned(path: str, kind: str) -> tuple[Resource, ...]:
    one = f"/admin/{path}/{{selector}}"
    return (
        Resource("GET", f"/admin/{path}", VIEWER, owners.listing(kind)),
        Resource("POST", f"/admin/{path}", ADMIN_ROLE, owners.create(kind)),
        Resource("GET", one, VIEWER, owners.show(kind)),
        Resource("PATCH", one, ADMIN_ROLE, owners.change(kind)),
        Resource("DELETE", one, ADMIN_ROLE, owners.delete(kind)),
    )


ADMIN: tuple[Resource, ...] = (
    Resource("GET", "/healthz", ANYONE, operations.healthz),
    Resource("GET", "/metrics", VIEWER, operations.metrics),
    Resource("GET", "/admin/login", ANYONE, session.ways, session.WaysData),
    Resource("POST", "/admin/session", ANYONE, session.log_in, session.SessionData, session.LogIn),
    Resource("GET", "/admin/session", VIEWER, session.show, session.SessionData),
    Resource("DELETE", "/admin/session", VIEWER, session.log_out),
    Resource("POST", "/admin/session/password", VIEWER, session.change_password, session.LoginData, session.NewPassword),
    Resource("GET", "/admin/sessions", VIEWER, session.listing, session.SessionList),
    Resource("DELETE", "/admin/sessions/{id}", VIEWER, session.revoke),
    Resource("GET", "/admin/status", ADMIN_ROLE, operations.status),
    Resource("POST", "/admin/reload", ADMIN_ROLE, operations.reload),
    Resource("GET", "/admin/health", VIEWER, health.show),
    Resource("DELETE", "/admin/health", ADMIN_ROLE, health.forget),
    Resource("POST", "/admin/explain", MEMBER, explain.show),
    Resource("GET", "/admin/requests", VIEWER, requests.listing),
    Resource("GET", "/admin/requests/{id}", VIEWER, requests.show),
    Resource("GET", "/admin/usage", VIEWER, usage.show),
    Resource("GET", "/admin/keys", VIEWER, keys.listing),
    Resource("POST", "/admin/keys", MEMBER, keys.create),
    Resource("GET", "/admin/keys/{selector}", VIEWER, keys.show),
    Resource("PATCH", "/admin/keys/{selector}", MEMBER, keys.change),
    Resource("DELETE", "/admin/keys/{selector}", MEMBER, keys.delete),
    *_owned("accounts", scopes.ACCOUNT),
    *_owned("teams", scopes.TEAM),
    *_owned("users", scopes.USER),
    Resource("GET", "/admin/users/{selector}/login", ADMIN_ROLE, session.show_login, session.LoginData),
    Resource("PUT", "/admin/users/{selector}/login", ADMIN_ROLE, session.set_login, session.LoginData, session.LoginBody),
    Resource("DELETE", "/admin/users/{selector}/login", ADMIN_ROLE, session.delete_login),
    Resource("GET", "/admin/audit", ADMIN_ROLE, audit.listing, audit.AuditPage, query=audit.AuditQuery),
    Resource("GET", "/admin/credits", ADMIN_ROLE, credits.listing),
    Resource("POST", "/admin/credits", ADMIN_ROLE, credits.create),
    Resource("POST", "/admin/credits/{id}/refund", ADMIN_ROLE, credits.refund),
    Resource("GET", "/admin/ledger", ADMIN_ROLE, books.page),
    # Its credential is the signature of the body.
    Resource("POST", "/webhooks/stripe", ANYONE, payments.stripe),
)
