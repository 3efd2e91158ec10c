"""Keys and tokens: how they are made, what is stored of them, how a presented one is compared.

A gateway key is stored as HMAC-SHA-256(server secret, SHA-256(key)): without the secret a stolen database cannot be searched for
keys, and plain SHA-256 hashes of another gateway can be brought over.
"""

import hashlib
import hmac
import secrets

KEY_PREFIX = "sk-fl-v1-"
ADMIN_PREFIX = "fl-admin-"
SECRET_BYTES = 32


def new_secret() -> bytes:
    """A server secret."""
    return secrets.token_bytes(SECRET_BYTES)


def new_key() -> str:
    """A gateway key: the prefix and 64 hexadecimal digits."""
    return KEY_PREFIX + secrets.token_hex(32)


def admin_token(server_secret: bytes) -> str:
    """The admin token of an installation whose configuration names none.

    It follows from the server secret, so every start and every replica knows it and nothing of it is stored anywhere.
    """
    return ADMIN_PREFIX + hmac.new(server_secret, b"fairlead: the admin token", hashlib.sha256).hexdigest()


def acting(secret: bytes, key_id: int, until_s: int) -> str:
    """What the traffic port takes for a key by its id, until a Unix second (`rust/gateway/src/pipeline/admit.rs`): for the control plane's
    own calls, since nobody has the text of a key once it was shown."""
    return f"fl-as-{key_id}-{until_s}-{stored_hash(secret, f'fairlead: act as key {key_id} until {until_s}')}"


def stored_hash(secret: bytes, key: str) -> str:
    """What the database and the data plane know of a key: 64 hexadecimal digits. Equal to the native `hash_key`."""
    return hmac.new(secret, hashlib.sha256(key.encode()).digest(), hashlib.sha256).hexdigest()


def public_hash(stored: str) -> str:
    """The name of a key in listings; tells nothing about the stored hash."""
    return hashlib.sha256(stored.encode()).hexdigest()


def label(key: str) -> str:
    """Enough of a key to recognise it: `sk-fl-v1-abc...xyz`. Of a short one nothing is shown."""
    if key.startswith(KEY_PREFIX):
        return f"{key[: len(KEY_PREFIX) + 3]}...{key[-3:]}"
    return f"{key[:3]}...{key[-3:]}" if len(key) >= 32 else "..."


def token_digest(token: str) -> str:
    """What an admin token is compared by."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(presented: str, digest: str) -> bool:
    """Whether a token has this digest, in a time that does not depend on where they differ."""
    return hmac.compare_digest(token_digest(presented), digest)


def secret_check(secret: bytes) -> str:
    """A mark of the server secret that is kept in the database, to notice another secret."""
    return hmac.new(secret, b"fairlead: the secret that the keys of this database were made under", hashlib.sha256).hexdigest()[:32]
