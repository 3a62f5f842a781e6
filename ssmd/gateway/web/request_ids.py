"""One id for each request: 26 characters that sort by time, as in a ULID."""

import secrets
from typing import Final

from ssmd.clock import NS_PER_MS

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHARS: Final = 26
RANDOM_BITS: Final = 80


def request_id(at_ns: int) -> str:
    number = (at_ns // NS_PER_MS) << RANDOM_BITS | secrets.randbits(RANDOM_BITS)
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(CHARS)))
