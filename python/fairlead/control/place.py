"""Where an installation lives: the data folder with its lock and secret, and the private folder of its sockets.

Everything here refuses what another user could have put in the way: folders that are not ours, modes that let others in, symbolic links.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import stat
from enum import Enum
from pathlib import Path

import msgspec

from fairlead.control import secret

DATABASE, JOURNAL, DECISIONS = "fairlead.db", "journal", "decisions"
RESPONSES, CONTENT, IDEMPOTENCY = "responses", "content", "idempotency"
SECRET, LOCK = "secret.key", "lock"
CONTROL_SOCKET = "control.sock"
# `sockaddr_un.sun_path`, with its final zero.
MOST_SOCKET_PATH = 107


class Port(Enum):
    """The ports of an installation."""

    TRAFFIC = "traffic"
    ADMIN = "admin"


_CHOSEN_WITH = {Port.TRAFFIC: "--data-addr or [server] data", Port.ADMIN: "--admin-addr or [server] admin"}


class PlaceError(Exception):
    """The installation's place cannot be used; one line that says why and what to do."""


class InUse(PlaceError):
    """Another process holds the data folder's lock."""


class Holder(msgspec.Struct, kw_only=True):
    """What the lock file says about the process that holds it."""

    pid: int
    control_socket: str = ""


class Lock:
    """The data folder's lock. It goes with the process, however that ends."""

    def __init__(self, data_dir: Path) -> None:
        """Takes the lock at once or raises `InUse`."""
        self._path = data_dir / LOCK
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # flock, not lockf: the latter is dropped as soon as any descriptor of the file is closed.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            by = holder(data_dir)
            raise InUse(f"the data folder {data_dir} is in use{f' by process {by.pid}' if by else ''}") from None
        self.describe("")

    def describe(self, control_socket: str) -> None:
        """Writes who holds the lock and where it listens, for commands."""
        content = msgspec.json.encode(Holder(pid=os.getpid(), control_socket=control_socket)) + b"\n"
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, content, 0)

    def release(self) -> None:
        """Gives the lock up. The file stays: a removed one could be locked twice."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def holder(data_dir: Path) -> Holder | None:
    """What the lock file says; None when it says nothing."""
    try:
        return msgspec.json.decode((data_dir / LOCK).read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


def make_data_dir(data_dir: Path) -> None:
    """Makes the folder with mode 0700 when it is missing. Raises `PlaceError` when it cannot be used."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
            raise PlaceError(f"the data folder {data_dir} cannot be written to")
    except OSError as error:
        raise PlaceError(f"the data folder {data_dir} cannot be made: {error.strerror}") from None


def server_secret(data_dir: Path, configured: str | None) -> bytes:
    """The secret that key hashes depend on: `[server] secret`, else `secret.key`, which is made when it is missing.

    64 hexadecimal digits stand for 32 bytes, whichever of the two they come from, so that the file's content can be configured elsewhere;
    any other text is taken as it is.
    """
    if configured is not None:
        return _secret_bytes(configured)
    path = data_dir / SECRET
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        text = secret.new_secret().hex()
        _write_new(path, text.encode() + b"\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PlaceError(f"{path} cannot be read: {error}") from None
    if len(text) < 32:
        raise PlaceError(f"{path} holds no secret; put its backup back, or remove it and make all keys anew")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PlaceError(f"{path} can be read by others; run: chmod 600 {path}")
    return _secret_bytes(text)


def run_dir(data_dir: Path) -> Path:
    """The private folder for sockets: short, because a socket's path is, and the same for every process on this data folder."""
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/") and Path(base).is_dir():
        path = Path(base) / f"fairlead-{name}"
        if len(os.fsencode(path / CONTROL_SOCKET)) <= MOST_SOCKET_PATH:
            return path
    return Path(f"/tmp/fairlead-{os.geteuid()}-{name}")  # noqa: S108 - checked by make_run_dir


def make_run_dir(path: Path) -> None:
    """Makes the folder, or takes the one that is there if it is a folder, ours, and closed to others. Raises `PlaceError`."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise PlaceError(f"the folder for sockets {path} cannot be made: {error.strerror}") from None
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PlaceError(f"{path} is not a folder; remove it")
    if found.st_uid != os.geteuid():
        raise PlaceError(f"{path} belongs to another user (id {found.st_uid}); remove it")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise PlaceError(f"{path} is open to other users; remove it")


def remove_run_dir(path: Path) -> None:
    """Removes the folder of a process that ends, under the lock. What is not empty stays."""
    with contextlib.suppress(OSError):
        path.rmdir()


def resolved(address: str, what: str) -> tuple[str, int]:
    """The numeric host, and the port, of `host:port`. Raises `PlaceError`."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:
        raise PlaceError(f"{what} {address} cannot be used: {error}") from None
    return str(found[0][4][0]), int(port)


def free_address(address: str, which: Port) -> tuple[str, int]:
    """`resolved`, after a probe that nobody listens there; port 0 becomes a free one. Raises `PlaceError`.

    The server that will bind it shares its port with whoever asks, so without this two processes would halve the traffic unnoticed.
    """
    what = f"the {which.value} address"
    host, port = resolved(address, what)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return host, int(probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PlaceError(
                f"{what} {address} is taken: another program listens there; stop it or choose another address with {_CHOSEN_WITH[which]}"
            ) from None
        raise PlaceError(f"{what} {address} cannot be used: {error.strerror}") from None


def _secret_bytes(text: str) -> bytes:
    if len(text) == 64 and all(digit in "0123456789abcdefABCDEF" for digit in text):
        return bytes.fromhex(text)
    return text.encode()


def _write_new(path: Path, content: bytes) -> None:
    """Writes a file that must not exist yet and survives a power cut."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
