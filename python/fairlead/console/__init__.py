"""The web console: its built files (`dist/`, made of `python/console` by `make build`), and how the admin port serves them.

Only `GET` and `HEAD` of a page end up here. Names below `/assets/` carry a hash of their content and are kept for ever; whatever else a
browser asks for as a page is `index.html`, where the console's own router goes on.
"""

import mimetypes
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.responses import Response

DIST = Path(__file__).parent / "dist"
ASSETS = "/assets/"
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
"""Those in which every file lies beside itself, the smallest first."""
FOR_EVER, ASK_AGAIN = "public, max-age=31536000, immutable", "no-cache"
NOT_BUILT = """Fairlead's admin port answers, but this installation has no web console.

A source tree builds it with: make build     (Node 20.19 or newer with npm)
Wheels have it inside. The API is here all the same: /admin/openapi.json, and the command `fairlead`.
"""


class File(NamedTuple):
    """A built file."""

    media: str
    etag: str
    bodies: dict[str, bytes]
    """By encoding; empty for the file itself."""


@lru_cache(maxsize=1)
def files(dist: Path = DIST) -> dict[str, File]:
    """Every file by its path below the port; empty where nothing was built. They stay in memory: there are few and they are small."""
    packed = tuple(end for _, end in ENCODINGS)
    found = {}
    for path in sorted(dist.rglob("*")):
        if not path.is_file() or path.suffix in packed:
            continue
        bodies = {"": path.read_bytes()}
        for encoding, end in ENCODINGS:
            beside = path.with_name(path.name + end)
            if beside.is_file():
                bodies[encoding] = beside.read_bytes()
        media = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if media.startswith("text/"):
            media += "; charset=utf-8"
        found[f"/{path.relative_to(dist).as_posix()}"] = File(media, f'"{sha256(bodies[""]).hexdigest()[:32]}"', bodies)
    return found


def answer(path: str, headers: Headers, dist: Path = DIST) -> Response | None:
    """What the console has for a path that no route of the API took; None where it is not for the console."""
    built = files(dist)
    if path in built and path != "/index.html":
        return _reply(built[path], headers, FOR_EVER if path.startswith(ASSETS) else ASK_AGAIN)
    if path.startswith((ASSETS, "/admin/")) or "text/html" not in headers.get("accept", ""):
        return None
    if "/index.html" not in built:
        return Response(NOT_BUILT, 503, {"cache-control": "no-store"}, "text/plain; charset=utf-8")
    return _reply(built["/index.html"], headers, ASK_AGAIN)


def _reply(file: File, headers: Headers, keeping: str) -> Response:
    said = {"cache-control": keeping, "etag": file.etag, "vary": "accept-encoding"}
    if file.etag in headers.get("if-none-match", ""):
        return Response(None, 304, said)
    accepted = {
        part.partition(";")[0].strip()
        for part in headers.get("accept-encoding", "").lower().split(",")
        if "q=0" not in part.replace("q=0.", "")
    }
    encoding = next((name for name, _ in ENCODINGS if name in accepted and name in file.bodies), "")
    if encoding:
        said["content-encoding"] = encoding
    return Response(file.bodies[encoding], 200, said, file.media)
