"""Passwords, kept as Argon2id (RFC 9106) in PHC form.

The library is `cryptography`, which the package has for service accounts already. The cost is the second of OWASP's recommended settings:
19 MiB and two passes, some 0.1 s here; whoever steals the database pays as much per guess.
"""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fairlead.control.replies import Refusal, invalid

LEAST_CHARACTERS, MOST_CHARACTERS = 12, 256
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
_SALT_BYTES, _HASH_BYTES = 16, 32

MOST_WAITING = 16
T = TypeVar("T")

_turns = ThreadPoolExecutor(1, thread_name_prefix="fl-passwords")
"""One at a time: each takes a core for a tenth of a second, and traffic needs those. A thread of its own: nobody else waits for them."""
_waiting: set[object] = set()


def checked(password: str) -> str:
    """A new password; 400 when it is short or very long. What it is made of is everybody's own affair."""
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise invalid(f"password: {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters are expected", path="password")
    return password


async def stored(password: str) -> str:
    """What is kept of a password. 429 when too many wait."""
    return await _in_turn(lambda: hashed(password))


async def fits(password: str, kept: str | None) -> bool:
    """Whether it is the one. Without one that is kept, as much time passes. 429 when too many wait."""
    return await _in_turn(lambda: is_same(password, kept or _NOBODYS)) and bool(kept)


async def _in_turn(work: Callable[[], T]) -> T:
    if len(_waiting) >= MOST_WAITING:
        raise Refusal(429, "rate_limit_exceeded", "too many passwords are being looked at; try again in a moment", retry_after=2)
    turn = object()
    _waiting.add(turn)
    try:
        return await asyncio.wrap_future(_turns.submit(work))
    finally:
        _waiting.discard(turn)


def hashed(password: str) -> str:
    """See `stored`. Blocks for a tenth of a second."""
    return str(_argon2().derive_phc_encoded(_bytes(password)))


def is_same(password: str, kept: str) -> bool:
    """See `fits`. Blocks as long."""
    from cryptography.exceptions import InvalidKey

    if len(password) > MOST_CHARACTERS:
        return False
    try:
        _argon2().verify_phc_encoded(_bytes(password), kept)
    except (InvalidKey, ValueError):
        return False
    return True


def _argon2() -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        return Argon2id(salt=os.urandom(_SALT_BYTES), length=_HASH_BYTES, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
    except UnsupportedAlgorithm:
        message = "passwords cannot be used here: this build of cryptography has no Argon2id (OpenSSL 3.2); its wheel has"
        raise Refusal(501, "not_supported", message) from None


def _bytes(password: str) -> bytes:
    # The same characters, whichever keyboard they came from.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$XAhwUUzJW59QgfAa6sQAFg$Ek6HSxq84FivD6fTRYC74mKJsAsuHpsdDnl0nghdhjc"
"""Of a password that was thrown away."""
