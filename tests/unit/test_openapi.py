"""The description of the operator's API: that it is one, that every route is in it, and that replies are what it says (`operator_rig`)."""

import json
import re
from pathlib import Path
from typing import Any

from fairlead.control.app import ADMIN
from fairlead.control.operator.description import document, operation_id
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from operator_rig import Port, tell

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs/openapi.json"


def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document(ADMIN)))
    return found


def test_it_is_openapi() -> None:
    validate(described(), cls=OpenAPIV31SpecValidator)


def test_every_route_is_in_it() -> None:
    paths = described()["paths"]
    listed = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert listed == {(resource.method, resource.path.replace(":path}", "}")) for resource in ADMIN}
    for resource in ADMIN:
        operation = paths[resource.path.replace(":path}", "}")][resource.method.lower()]
        assert operation["x-fairlead-role"] == resource.access.value
        assert operation["summary"].endswith(".") and len(operation["summary"]) > 8, resource
        assert ("requestBody" in operation) == (resource.body is not None)
        if resource.media == "application/json" and resource.path not in ("/admin/openapi.json", "/webhooks/stripe"):
            assert resource.reply is not None, f"{resource.method} {resource.path} does not say what it answers"
    assert len({operation_id(resource) for resource in ADMIN}) == len(ADMIN)


def test_names_of_types_are_short() -> None:
    """Two types of one name would both be called by their modules."""
    assert not [name for name in described()["components"]["schemas"] if not re.fullmatch(r"\w+", name)]


def test_the_committed_file_is_this_version() -> None:
    """Made by `python -m fairlead.control.operator.description > docs/openapi.json`."""
    assert json.loads(COMMITTED.read_text()) == described()


def test_it_is_served(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        assert (await port.script.get("/admin/openapi.json")).json() == described()

    tell(tmp_path, story)
