"""API keys: `ssmd_<8 characters>_<256 random bits>`. Shown once; only a keyed hash is kept.

A random key of 256 bits needs no slow hash. The hash's own key, the pepper, lies in a file beside the database: who has
a copy of the database alone cannot even try a key.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd.errors import ConfigError
from ssmd.gateway.clients import KeyRecord

PREFIX: Final = "ssmd"
ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_CHARS: Final = 8
SECRET_BYTES: Final = 32
MAX_KEY_CHARS: Final = 128
"""What is longer is cut before it is hashed: it cannot be a key, and must not cost more than one."""
PEPPER_BYTES: Final = 32
OWNER_ONLY: Final = 0o600


class NewKey(Struct, frozen=True):
    """A key that was just made. text is the secret: give it to its owner and forget it."""

    key_id: str
    text: str

    def __repr__(self) -> str:
        return f"NewKey({self.key_id!r}, …)"


def mint() -> NewKey:
    key_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_CHARS))
    return NewKey(key_id, f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}")


def id_of(text: str) -> str:
    """Return the id in a key's text; nothing when it has not the form of one."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    return key_id if prefix == PREFIX and len(key_id) == ID_CHARS and secret else ""


class Pepper:
    """The key of the keyed hash."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Pepper(…)"

    def digest(self, text: str) -> bytes:
        whole = text[:MAX_KEY_CHARS].encode(errors="replace")
        return hashlib.blake2b(whole, key=self._secret, digest_size=32, person=b"ssmd api key").digest()


class KeyRing:
    """The keys that exist, found by id. Looking for one that does not exist is the same work."""

    def __init__(self, pepper: Pepper, records: Iterable[KeyRecord] = ()) -> None:
        self._pepper = pepper
        self._records = {record.key_id: record for record in records}
        self._nobody = KeyRecord("", "", secrets.token_bytes(32), 0, 0)

    def find(self, text: str, at_ns: int) -> KeyRecord | None:
        """Return the key that this text is, None for any that does not count now."""
        record = self._records.get(id_of(text), self._nobody)
        is_same = hmac.compare_digest(self._pepper.digest(text), record.digest)
        return record if is_same and record.is_live(at_ns) and record is not self._nobody else None

    def by_id(self, key_id: str) -> KeyRecord | None:
        return self._records.get(key_id)

    def __len__(self) -> int:
        return len(self._records)


# files -------------------------------------------------------------------------------------------------------


def read_secret(path: Path) -> str | None:
    """Return the content of a secret's file, None when it is not there. Raises ConfigError for one that others may read."""
    try:
        mode = path.stat().st_mode
        if mode & 0o007:  # a group may: a cluster gives volumes to one
            raise ConfigError(f"{path} may be read by others (mode {mode & 0o777:o}); chmod 600 {path}")
        content = path.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not content:
        raise ConfigError(f"{path} is empty; put back its content, or delete it to have a new one made")
    return content


def write_secret(path: Path, content: str) -> None:
    """Make a secret's file. Raises ConfigError when it is there already or cannot be made."""
    write_whole(path, f"{content}\n".encode())


def write_whole(path: Path, content: bytes) -> None:
    """Make a file that only its owner may read, there as a whole or not at all, also after a power cut.

    Raises ConfigError when it is there already or cannot be made.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OWNER_ONLY), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def sync_folder(folder: Path) -> None:
    """Have the names of files in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_pepper(path: Path) -> Pepper | None:
    """Return the pepper in a file, None without one. Raises ConfigError when it is not one."""
    content = read_secret(path)
    if content is None:
        return None
    try:
        secret = bytes.fromhex(content)
    except ValueError:
        secret = b""
    if len(secret) != PEPPER_BYTES:
        raise ConfigError(f"{path} is not a pepper; put back its content: without it no key of the database is valid")
    return Pepper(secret)


def make_pepper(path: Path) -> Pepper:
    secret = secrets.token_bytes(PEPPER_BYTES)
    write_secret(path, secret.hex())
    return Pepper(secret)


def admin_key(path: Path) -> str:
    """Return the administrator's key; made when there is none yet."""
    text = read_secret(path)
    if text is None:
        text = mint().text
        write_secret(path, text)
    if not id_of(text):
        raise ConfigError(f"{path} holds no key; delete it to have a new one made at the next start")
    return text
