"""Every route of the admin port, with the role that it asks for: the one table of who may do what.

A role may what those before it may: viewer, member, admin, owner. `anyone` is for routes that tell nothing, or that have a credential of
their own. Whose keys and requests a viewer or member sees is narrower still (`Principal.sees_all`).
"""

from fairlead.config.made import PRESET, SPLIT, TABLES
from fairlead.control import books, content, credits, explain, health, keys, operations, owners, payments, requests, usage
from fairlead.control.access import Access
from fairlead.control.db.scopes import ACCOUNT, TEAM, USER
from fairlead.control.operator import (
    audit,
    catalogue,
    configuration,
    description,
    drains,
    events,
    figures,
    naming,
    playground,
    probe,
    recall,
    session,
    setup,
    shapes,
    standing,
)
from fairlead.control.resource import Resource

ANYONE, VIEWER, MEMBER, OPERATING, OWNER = Access.ANYONE, Access.VIEWER, Access.MEMBER, Access.ADMIN, Access.OWNER
_TEXT = "text/plain; charset=utf-8"
_OWNED = {
    ACCOUNT: ("accounts", shapes.AccountData, shapes.AccountList, owners.AccountCreation, owners.ScopeChange, None),
    TEAM: ("teams", shapes.TeamData, shapes.TeamList, owners.TeamCreation, owners.ScopeChange, shapes.AccountQuery),
    USER: ("users", shapes.UserData, shapes.UserList, owners.UserCreation, owners.UserChange, shapes.AccountQuery),
}


def _owned(kind: str) -> tuple[Resource, ...]:
    path, one, many, creation, change, query = _OWNED[kind]
    at = f"/admin/{path}/{{selector}}"
    article = "an" if kind == ACCOUNT else "a"
    return (
        Resource("GET", f"/admin/{path}", VIEWER, owners.listing(kind), many, says=f"The {path} that the caller sees, with their usage."),
        Resource("POST", f"/admin/{path}", OPERATING, owners.create(kind), one, creation, status=201, says=f"Makes {article} {kind}."),
        Resource("GET", at, VIEWER, owners.show(kind), one, query=query, says=f"One of the {path}, by its name or id."),
        Resource(
            "PATCH", at, OPERATING, owners.change(kind), one, change, query, is_edit=True,
            says=f"Changes {article} {kind}: its name, its limits.",
        ),
        Resource(
            "DELETE", at, OPERATING, owners.delete(kind), shapes.GoneData, None, query, is_edit=True,
            says=f"Deletes {article} {kind} that nothing belongs to any more.",
        ),
    )  # fmt: skip


def _named(kind: str) -> tuple[Resource, ...]:
    path = f"/admin/{TABLES[kind]}"
    one, many = (naming.PresetData, naming.PresetList) if kind == PRESET else (naming.SplitData, naming.SplitList)
    # Names of splits have slashes.
    at = f"{path}/{{name}}" if kind == PRESET else f"{path}/{{name:path}}"
    return (
        Resource("GET", path, VIEWER, naming.listing(kind), many, says=f"Every {kind} with {_SAYS[kind]}."),
        Resource("POST", path, OPERATING, naming.create(kind), one, naming.NameCreation, status=201, says=f"Makes a {kind}."),
        Resource(
            "GET", f"{at}/versions", OPERATING, naming.versions(kind), naming.VersionList, query=naming.VersionsQuery,
            says=f"What a {kind} stood for, the newest first, with who said so and when.",
        ),
        Resource(
            "POST", f"{at}/activate", OPERATING, naming.activate(kind), one, naming.Activation, is_edit=True,
            says=f"Puts a version of a {kind} in force that there was.",
        ),
        Resource("GET", at, VIEWER, naming.show(kind), one, says=f"One {kind}."),
        Resource(
            "PATCH", at, OPERATING, naming.change(kind), one, naming.NameChange, is_edit=True,
            says=f"Makes another version of a {kind} and puts it in force.",
        ),
        Resource(
            "DELETE", at, OPERATING, naming.delete(kind), shapes.GoneData, is_edit=True,
            says=f"Deletes a {kind} that was made at run time.",
        ),
    )  # fmt: skip


_SAYS = {PRESET: "what it says", SPLIT: "its arms and what came of each"}
_KEY, _LOGIN = "/admin/keys/{selector}", "/admin/users/{selector}/login"

ADMIN: tuple[Resource, ...] = (
    Resource("GET", "/healthz", ANYONE, operations.healthz, media=_TEXT),
    Resource("GET", "/metrics", OPERATING, operations.metrics, media=_TEXT),
    Resource("GET", "/admin/openapi.json", VIEWER, description.show),
    Resource("GET", "/admin/login", ANYONE, session.ways, session.WaysData),
    Resource("POST", "/admin/login/oidc", ANYONE, session.begin, session.BegunData),
    Resource("POST", "/admin/session", ANYONE, session.log_in, session.SessionData, session.LogIn),
    Resource("GET", "/admin/session", VIEWER, session.show, session.SessionData),
    Resource("DELETE", "/admin/session", VIEWER, session.log_out, shapes.GoneData),
    Resource("POST", "/admin/session/password", VIEWER, session.change_password, session.LoginData, session.NewPassword),
    Resource("GET", "/admin/sessions", VIEWER, session.listing, session.SessionList),
    Resource("DELETE", "/admin/sessions/{id}", VIEWER, session.revoke, shapes.GoneData),
    Resource("GET", "/admin/status", OPERATING, operations.status, shapes.StatusData),
    Resource("POST", "/admin/reload", OPERATING, operations.reload, shapes.SaidData),
    Resource("GET", "/admin/health", VIEWER, health.show, shapes.HealthList),
    Resource("DELETE", "/admin/health", OPERATING, health.forget, shapes.HealthList),
    Resource("POST", "/admin/explain", MEMBER, explain.show, shapes.ExplanationData, explain.Question),
    Resource("GET", "/admin/requests", VIEWER, requests.listing, requests.RequestsPage, query=requests.RequestsQuery),
    Resource("GET", "/admin/requests/running", VIEWER, requests.running, requests.RunningPage),
    Resource("GET", "/admin/requests/{id}", VIEWER, requests.show, requests.RequestData),
    Resource("GET", "/admin/requests/{id}/explain", MEMBER, recall.show, recall.RecalledData),
    Resource("GET", "/admin/requests/{id}/content", OPERATING, content.show_any, shapes.ContentData),
    Resource("GET", "/admin/events", VIEWER, events.stream, query=events.EventsQuery, media="text/event-stream"),
    Resource("GET", "/admin/usage", OPERATING, usage.show, shapes.UsageRows, query=shapes.UsageQuery),
    Resource("GET", "/admin/usage/series", VIEWER, figures.series, figures.SeriesReply, query=figures.SeriesQuery),
    Resource("GET", "/admin/usage/latency", VIEWER, figures.latency, figures.LatencyReply, query=figures.LatencyQuery),
    Resource("GET", "/admin/usage/errors", VIEWER, figures.errors, figures.ErrorsReply, query=figures.ErrorsQuery),
    Resource("GET", "/admin/keys", VIEWER, keys.listing, shapes.KeyList),
    Resource("POST", "/admin/keys", MEMBER, keys.create, shapes.KeyMade, keys.KeyCreation, status=201),
    Resource("GET", _KEY, VIEWER, keys.show, shapes.KeyData),
    Resource("PATCH", _KEY, MEMBER, keys.change, shapes.KeyData, keys.KeyChange, is_edit=True),
    Resource("POST", f"{_KEY}/rotate", MEMBER, keys.rotate, shapes.KeyMade, keys.Rotation, is_edit=True),
    Resource("DELETE", _KEY, MEMBER, keys.delete, shapes.GoneData, is_edit=True),
    *_owned(ACCOUNT),
    *_owned(TEAM),
    *_owned(USER),
    Resource("GET", _LOGIN, OPERATING, session.show_login, session.LoginData, query=shapes.AccountQuery),
    Resource("PUT", _LOGIN, OPERATING, session.set_login, session.LoginData, session.LoginBody, shapes.AccountQuery, is_edit=True),
    Resource("DELETE", _LOGIN, OPERATING, session.delete_login, shapes.GoneData, None, shapes.AccountQuery, is_edit=True),
    Resource("GET", "/admin/models", VIEWER, catalogue.listing, catalogue.ModelList, query=catalogue.ModelsQuery),
    Resource("GET", "/admin/models/{name:path}", VIEWER, catalogue.show, catalogue.ModelData),
    Resource("POST", "/admin/estimate", VIEWER, catalogue.estimate, catalogue.Estimates, catalogue.EstimateBody),
    Resource("GET", "/admin/providers", VIEWER, catalogue.providers, catalogue.ProviderList),
    Resource("POST", "/admin/providers/{id}/probe", OPERATING, probe.run, probe.ProbeData, probe.ProbeBody),
    Resource("POST", "/admin/endpoints/{id}/drain", OPERATING, drains.drain, shapes.SaidData, drains.DrainBody),
    Resource("POST", "/admin/endpoints/{id}/enable", OPERATING, drains.enable, shapes.SaidData),
    *_named(PRESET),
    *_named(SPLIT),
    Resource("GET", "/admin/budgets", VIEWER, standing.budgets, standing.BudgetList),
    Resource("GET", "/admin/alerts", OPERATING, standing.alerts_page, standing.AlertsPage, query=standing.AlertsQuery),
    Resource("PUT", "/admin/alerts/silence", OPERATING, standing.silence, shapes.SaidData, standing.Silence),
    Resource("POST", "/admin/alerts/test", OPERATING, standing.test, standing.TestedList),
    Resource("GET", "/admin/config", OPERATING, configuration.show, configuration.ConfigData),
    Resource("POST", "/admin/config/validate", OPERATING, configuration.validate, configuration.JudgedData, configuration.TextBody),
    Resource("POST", "/admin/config/diff", OPERATING, configuration.diff, configuration.ComparisonData, configuration.TextBody),
    Resource("PUT", "/admin/config", OWNER, configuration.write, shapes.SaidData, configuration.TextBody, is_edit=True),
    Resource("GET", "/admin/config/history", OPERATING, configuration.history, configuration.KeptList),
    Resource("GET", "/admin/config/history/{id}", OPERATING, configuration.past, configuration.KeptData),
    Resource("POST", "/admin/playground/runs", MEMBER, playground.start, None, playground.RunBody, media="text/event-stream"),
    Resource("DELETE", "/admin/playground/runs/{id}", MEMBER, playground.stop, playground.StoppedData, query=playground.StopQuery),
    Resource("GET", "/admin/setup", OPERATING, setup.show, setup.SetupData),
    Resource("PUT", "/admin/setup", OPERATING, setup.dismiss, setup.SetupData, setup.Dismissal),
    Resource("GET", "/admin/audit", OPERATING, audit.listing, audit.AuditPage, query=audit.AuditQuery),
    Resource("GET", "/admin/credits", OPERATING, credits.listing, shapes.CreditEntries, query=shapes.CreditsQuery),
    Resource("POST", "/admin/credits", OPERATING, credits.create, shapes.CreditEntryData, credits.CreditCreation, status=201),
    Resource("POST", "/admin/credits/{id}/refund", OPERATING, credits.refund, shapes.CreditEntryData, credits.Reversal, status=201),
    Resource("GET", "/admin/ledger", OPERATING, books.page, shapes.LedgerPage, query=shapes.LedgerQuery),
    # Its credential is the signature of the body.
    Resource("POST", "/webhooks/stripe", ANYONE, payments.stripe),
)
