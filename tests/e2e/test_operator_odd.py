"""Odd input at every route of the admin port, made from the types that its table says: it is refused with words, or does what it says, and
there is never a 500. Bytes are sent as no client would write them."""

import contextlib
import json
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from fairlead.control.access import Access
from fairlead.control.app import ADMIN
from fairlead.control.resource import Resource
from msgspec import inspect

from e2e.house import ADMIN_TOKEN, Gateway, Provider, configuration, read_to_end, split
from e2e.test_operator import Page, chat

PLACES = (
    "%00", "%ff%fe", "%ed%a0%80", "%2e%2e", "%2F", "%20", "%", "%zz", "%F0%9F%98%80", "%E2%80%AE", "'", "0", "-1", "1", "1e9", "nan",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 400, "a" * 5000, "default", "%D9%A3",
)  # fmt: skip
"""Parts of a path, as they are sent."""
QUERIES = (
    "%ff=%fe",
    "a=1&a=2",
    "=",
    "&&&",
    "%00=%00",
    "a",
    "a[]=1",
    "a=1;b=2",
    "%",
    "x" * 20_000,
    "&".join(f"a{n}=1" for n in range(2000)),
)
"""Whole query strings."""
WORDS = (
    "", "%00", "%ff", "%ed%a0%80", "none-of-these", "a" * 5000, "-1", "0", "1", "1.5", "1e400", "nan", "-inf", "9223372036854775807",
    "9223372036854775808", "9" * 400, "true", "null", "%D9%A3", "a,,b", ",", "50,nan", "99.9999999999,1e-300", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "1969-12-31T00:00:00Z", "2026-02-30T00:00:00Z",
    "now", "../../etc/passwd", "/etc/passwd", "Europe/Berlin", "localtime", "posixrules", "%25%27%22%3B--", "LIKE%25_", "(a%2B)%2B$",
)  # fmt: skip
"""Values in a query string, as they are sent."""
VALUES = (
    "null", "true", "0", "-1", "1.5", "1e308", "1e400", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 400,
    '""', '"a"', '"\\u0000"', '"\\ud800"', '"a\\u0000b"', '"\\u202e\\ud83d\\ude00"', '"nan"', '"1e400"', '"-1"', '"0.0000000001"',
    f'"{"9" * 400}"', f'"{"a" * 100_000}"', '"../../x"', '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59-23:59"', "[]", "[null]", "[[]]",
    '["a","a"]', '["\\u0000"]', "{}", '{"":null}', '{"\\u0000":1}', '{"a":' * 200 + "1" + "}" * 200,
)  # fmt: skip
"""Values in a body, as they are sent."""
BODIES = (
    b"", b"null", b"[]", b"1", b'""', b"{", b"{}{}", b"\xff", b'{"\xff":1}', b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b"[" * 100_000, b"NaN",
    b'{"text":"' + b"x" * (10 << 20) + b'"}', b"\0" * (10 << 20),
)  # fmt: skip
"""Whole bodies."""
HEADERS = (
    b"if-match: \xff", b'if-match: W/"x"', b"if-match: " + b"a" * 20_000, b"accept: \xff", b"accept: text/csv", b"last-event-id: \xff",
    b"last-event-id: 00000000-999999999999999", b"content-type: \xff", b"content-type: multipart/form-data; boundary=", b"origin: \xff",
    b"host: \xff", b"host: [::1", b"cookie: \xff=\xff; fairlead_local=\xff; fairlead_local_oidc=\xff", b"cookie: " + b"a=b; " * 2000,
    b"x-fairlead-csrf: \xff", b"sec-fetch-site: \xff", b"user-agent: \xff\x01", b"content-encoding: gzip", b"range: bytes=0-0",
    b"authorization: Bearer \xff", b"x-fairlead-principal: operator", b"accept-encoding: \xff",
)  # fmt: skip
SAMPLED = 20
"""So many of a route, and all in a proof run."""
ENDLESS = {"GET /admin/events"}
"""A good answer lasts for as long as somebody listens."""
SAMPLES = {
    "name": '"odd"',
    "password": '"a long password"',
    "model": '"lab/echo"',
    "text": '""',
    "current": '"a"',
    "definition": '{"model":"lab/echo"}',
}


class Odd(NamedTuple):
    """A request."""

    path: str
    query: str = ""
    body: bytes | None = None
    header: bytes = b""


class Port(NamedTuple):
    """A gateway, and what there is to ask for."""

    gateway: Gateway
    real: dict[str, str]
    """The beginning of a path → a name or id that there is; elsewhere `odd` is made by its own POST, which comes first."""


def placed(resource: Resource, part: str) -> str:
    return "/".join(part if piece.startswith("{") else piece for piece in resource.path.split("/"))


def sample(name: str, type: inspect.Type) -> str:
    """A value that a member may have, as JSON."""
    if name in SAMPLES:
        return SAMPLES[name]
    match type:
        case inspect.UnionType():
            return sample(name, next(one for one in type.types if not isinstance(one, inspect.NoneType | inspect.UnsetType)))
        case inspect.StructType():
            return members(type)
        case inspect.ListType():
            return f"[{sample('', type.item_type)}]"
        case inspect.LiteralType():
            return json.dumps(type.values[0])
        case inspect.IntType():
            return str(type.ge or 1)
        case inspect.BoolType():
            return "true"
        case inspect.DictType():
            return "{}"
    return '"1"'


def members(type: inspect.StructType, other: str = "", value: str = "") -> str:
    """What must be there, and one member with another value."""
    said = {field.encode_name: sample(field.encode_name, field.type) for field in type.fields if field.required}
    said |= {other: value} if other else {}
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in said.items()) + "}"


def fields(type: Any) -> list[str]:
    described = inspect.type_info(type)
    assert isinstance(described, inspect.StructType)
    return [field.encode_name for field in described.fields]


def odd(resource: Resource, part: str) -> Iterator[Odd]:
    path, good = placed(resource, part), None
    if resource.body is not None:
        described = inspect.type_info(resource.body)
        assert isinstance(described, inspect.StructType)
        good = members(described).encode()
        if resource.path.startswith("/admin/splits"):
            good = good.replace(b'{"model":"lab/echo"}', b'{"arms":[{"model":"lab/echo","weight":1}]}')
    yield Odd(path, body=good)
    if resource.body is not None:
        yield from (Odd(path, body=body) for body in BODIES)
        for name in fields(resource.body):
            yield from (Odd(path, body=members(described, name, value).encode()) for value in VALUES)
    yield from (Odd(path, query, good) for query in QUERIES)
    for name in [] if resource.query is None else fields(resource.query):
        yield from (Odd(path, f"{name}={word}", good) for word in WORDS)
        yield Odd(path, f"{name}=1&{name}=1", good)
    if path != resource.path:
        yield from (Odd(placed(resource, part), body=good) for part in PLACES)
    yield from (Odd(path, body=good, header=header) for header in HEADERS)


@pytest.fixture(scope="module")
def port(provider: Provider) -> Iterator[Port]:
    with Gateway(configuration(provider.address)) as running:
        generation = chat(running)
        assert running.operate("POST", "/admin/users", {"name": "ann"}).status == 201
        # With it nobody deletes her.
        assert running.operate("POST", "/admin/keys", {"name": "ann's", "user": "ann"}).status == 201
        entry = running.operate("POST", "/admin/credits", {"account": "default", "usd": "5"}).json()["data"]
        model = running.operate("GET", "/admin/models/lab/echo").json()["data"]
        real = {
            "/admin/requests": generation, "/admin/models": "lab/echo", "/admin/providers": "lab", "/admin/credits": str(entry["id"]),
            "/admin/endpoints": str(model["endpoints"][0]["id"]),
        }  # fmt: skip
        yield Port(running, real)


@pytest.fixture
def member(port: Port) -> Page:
    """Somebody who has just logged in: a test may end all log-ins."""
    assert port.gateway.operate("PUT", "/admin/users/ann/login", {"role": "member", "password": "a long password"}).status == 200
    page = Page(port.gateway)
    page.log_in(name="ann", password="a long password")
    return page


def answer(at: str, resource: Resource, one: Odd, page: Page | None, number: int) -> bytes:
    """What comes back, to its end where it has one. Each request is of another address, so that none waits for another's failures."""
    said = {
        b"connection": b"close", b"host": at.encode(), b"content-type": b"application/json", b"origin": f"http://{at}".encode(),
        # No text is put in force here, which would be the end of the others.
        b"if-match": b"old" if resource.path == "/admin/config" else b"*",
    }  # fmt: skip
    if page is None:
        said[b"authorization"] = f"Bearer {ADMIN_TOKEN}".encode()
    else:
        said[b"cookie"] = "; ".join(f"{name}={value}" for name, value in page.cookies.items()).encode()
        said[b"x-fairlead-csrf"] = page.csrf.encode()
    name, _, value = one.header.partition(b": ")
    said |= {name: value} if name else {}
    said |= {} if one.body is None else {b"content-length": b"%d" % len(one.body)}
    line = f"{resource.method} {one.path}{'?' if one.query else ''}{one.query} HTTP/1.1".encode()
    head = b"\r\n".join([line, *(name + b": " + value for name, value in said.items()), b"", b""])
    source = (f"127.1.{number >> 8}.{number & 255}", 0)
    with socket.create_connection(split(at), timeout=30, source_address=source) as connection:
        # What is too long need not be read to its end.
        with contextlib.suppress(ConnectionError):
            connection.sendall(head + (one.body or b""))
        return connection.recv(1 << 16) if f"{resource.method} {resource.path}" in ENDLESS else read_to_end(connection)


ASKED = [(resource, False) for resource in ADMIN] + [
    (resource, True) for resource in ADMIN if resource.access in (Access.VIEWER, Access.MEMBER)
]
"""By the operator's token; and by a member, where a member may."""


def named(value: Any) -> str:
    return f"{value.method} {value.path}" if isinstance(value, Resource) else "by a member" if value else "by the token"


@pytest.mark.parametrize(("resource", "by_member"), ASKED, ids=named)
def test_odd_input_is_refused_with_words(
    port: Port, member: Page, resource: Resource, by_member: bool, dice: random.Random, counts: Callable[[int, int], int]
) -> None:
    part = next((real for path, real in port.real.items() if resource.path.startswith(path)), "odd")
    good, *others = odd(resource, part)
    sampled = dice.sample(others, min(len(others), counts(SAMPLED, len(others))))
    wrong = []
    for number, one in enumerate([good, *sampled], 1):
        reply = answer(port.gateway.admin, resource, one, member if by_member else None, number)
        status = reply[9:12]
        if not b"200" <= status < b"500":
            wrong.append(f"{str(one)[:500]} → {reply[-400:]!r}")
        elif status >= b"400" and b"\r\ncontent-type: application/json" in reply:
            error = msgspec.json.decode(reply.partition(b"\r\n\r\n")[2])["error"]
            assert error["message"] and error["code"] == int(status), (one, reply)
    assert not wrong, "\n".join(wrong)
    assert port.gateway.operate("GET", "/admin/status").status == 200, "the token is still the operator's"


@pytest.mark.parametrize("number", [0, 2**63 - 1, 2**63, 2**64])
def test_a_version_is_a_number_of_the_database(port: Port, number: int) -> None:
    operate = port.gateway.operate
    assert operate("POST", "/admin/presets", {"name": f"of-{number}", "definition": {"model": "lab/echo"}}).status == 201
    at = f"/admin/presets/of-{number}"
    for reply in (operate("GET", f"{at}/versions?before={number}"), operate("POST", f"{at}/activate", {"number": number})):
        assert reply.status == 400, reply.body
    assert operate("POST", f"{at}/activate", {"number": 2**63 - 2}).status == 404
    assert [each["number"] for each in operate("GET", f"{at}/versions?before={2**63 - 2}").json()["data"]] == [1]
