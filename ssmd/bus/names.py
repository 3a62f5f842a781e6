"""What may become a subject, a key or a name on the bus. Nothing that a user typed gets there without passing here."""

from collections.abc import Sequence
from typing import Final

from ssmd.bus.base import Outgoing
from ssmd.model import is_token

_REMEMBERED_SUBJECTS: Final = 10_000
"""Each feed has a few hundred subjects; the limit only keeps a faulty caller from filling the memory."""

HEADER_BYTES: Final = 160
"""Room for our header besides the message id: names of the fields, group name, sequence in the group."""


def check_token(text: str, what: str) -> str:
    """Return the text unchanged when it is one plain token; else raise ValueError."""
    if not is_token(text):
        raise ValueError(f"{what} is {text!r}; allowed are 1 to 32 of A-Z a-z 0-9 _ -")
    return text


def check_subject(text: str, what: str = "subject") -> str:
    """Return the text unchanged when every part of it is a plain token, so no wildcard; else raise ValueError."""
    for token in text.split("."):
        if not is_token(token):
            raise ValueError(f"{what} is {text!r}; each part needs 1 to 32 of A-Z a-z 0-9 _ -")
    return text


def check_filter(text: str) -> str:
    """Return the text unchanged when it is a subject or a pattern of whole-token wildcards; else raise ValueError."""
    *front, last = text.split(".")
    if not (last in {">", "*"} or is_token(last)) or not all(t == "*" or is_token(t) for t in front):
        raise ValueError(f"subject pattern is {text!r}; each part is a plain token, * or, at the end, >")
    return text


def check_key(bucket: str, key: str) -> None:
    """Raise ValueError unless both may name a place in a key-value store."""
    check_token(bucket, "bucket")
    check_subject(key, "key")


def check_value(place: str, value: bytes, max_payload_bytes: int) -> None:
    """Raise ValueError for a value that the server would answer by dropping the whole connection."""
    size = len(value) + HEADER_BYTES
    if size > max_payload_bytes:
        raise ValueError(f"{place} has {size} bytes with its header; the server takes {max_payload_bytes}")


class OutgoingCheck:
    """Refuses a batch that the server would answer by dropping the whole connection (payload above its limit)."""

    def __init__(self, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._good_subjects: set[str] = set()

    def check(self, batch: Sequence[Outgoing]) -> None:
        """Raise ValueError for the first message that must not be sent."""
        for message in batch:
            if message.subject not in self._good_subjects:
                self._remember(check_subject(message.subject))
            identity = message.message_id
            if not identity.isascii() or not identity.isprintable() or identity != identity.strip() or not identity:
                raise ValueError(f"message id {identity!r} on {message.subject} is not one line of printable ASCII")
            size = len(message.payload) + len(identity) + HEADER_BYTES
            if size > self._max_payload_bytes:
                raise ValueError(
                    f"message {identity} has {size} bytes with its header; the server takes {self._max_payload_bytes}"
                )

    def _remember(self, subject: str) -> None:
        if len(self._good_subjects) >= _REMEMBERED_SUBJECTS:
            self._good_subjects.clear()
        self._good_subjects.add(subject)
