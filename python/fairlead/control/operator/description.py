"""`GET /admin/openapi.json`: OpenAPI 3.1, made of the routes' table and the types that stand in it.

`python -m fairlead.control.operator.description` writes it, for whoever makes types of it.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from fairlead import __version__
from fairlead.control.access import Access
from fairlead.control.desk import Call
from fairlead.control.operator.shapes import Error
from fairlead.control.replies import reply
from fairlead.control.resource import Resource

SCHEMAS = "#/components/schemas/"
_WHO = {
    Access.ANYONE: "Asks for no log-in.",
    Access.VIEWER: "Role: viewer.",
    Access.MEMBER: "Role: member.",
    Access.ADMIN: "Role: admin.",
    Access.OWNER: "Role: owner.",
}
_ABOUT = """The admin port. Every route names the least role that it asks for; roles are viewer, member, admin and owner. Programs send the
admin token as bearer; pages log in (`POST /admin/session`) and send `X-Fairlead-CSRF` with what changes something. Money is in decimal
strings of dollars, moments in RFC 3339, durations in milliseconds. What has an `ETag` is edited with `If-Match`, and an edit of what has
changed is refused with 412, which says what changed."""


async def show(call: Call) -> Response:
    """This description."""
    from fairlead.control.operator.table import ADMIN

    return reply(document(ADMIN))


def document(resources: Sequence[Resource]) -> dict[str, Any]:
    """The whole description."""
    types = [type for resource in resources for type in (resource.reply, resource.body, resource.query) if type is not None]
    schemas, components = msgspec.json.schema_components([Error, *types], ref_template=SCHEMAS + "{name}")
    by_type = dict(zip(map(id, [Error, *types]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for resource in resources:
        paths.setdefault(resource.path.replace(":path}", "}"), {})[resource.method.lower()] = _operation(resource, by_type, components)
    for type in {resource.query for resource in resources if resource.query is not None}:
        # Its members stand beside the routes.
        components.pop(type.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fairlead, the operator's API", "version": __version__, "description": " ".join(_ABOUT.split())},
        "security": [{"token": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The admin token."},
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": "fairlead_local", "description": "`__Host-fairlead` behind a proxy with TLS."
                },
            },
        },
    }  # fmt: skip


def _operation(resource: Resource, by_type: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    says = resource.says or _first_sentence(resource.answer.__doc__ or "")
    described: dict[str, Any] = {
        "operationId": operation_id(resource),
        "summary": says,
        "description": _WHO[resource.access],
        "x-fairlead-role": resource.access.value,
        "tags": [resource.path.removeprefix("/admin/").strip("/").partition("/")[0]],
        "parameters": [*_path_parameters(resource), *_query_parameters(resource, components), *_if_match(resource)],
        "responses": {
            str(resource.status): {"description": "Done.", "content": {resource.media: {"schema": by_type.get(id(resource.reply), {})}}},
            "default": {"description": "Refused.", "content": {"application/json": {"schema": by_type[id(Error)]}}},
        },
    }
    if resource.access is Access.ANYONE:
        described["security"] = []
    if resource.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": by_type[id(resource.body)]}}}
    return described


def operation_id(resource: Resource) -> str:
    """A name for functions, such as `get_admin_keys_selector`."""
    return resource.method.lower() + re.sub(r"[^a-z0-9]+", "_", resource.path.lower()).rstrip("_")


def _path_parameters(resource: Resource) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)[^}]*\}", resource.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(resource: Resource, components: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if resource.query is None:
        return
    schema = components[resource.query.__name__]
    for name, described in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}


def _if_match(resource: Resource) -> Iterable[dict[str, Any]]:
    if resource.is_edit:
        about = "The ETag of what was shown, or *. Who logged in with a cookie must send it."
        yield {"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}, "description": about}


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."


if __name__ == "__main__":
    from fairlead.control.operator.table import ADMIN as ROUTES

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document(ROUTES)), indent=1) + b"\n")
