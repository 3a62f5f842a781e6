"""Normalizer versions that misbehave, for every Python process that has this folder on its PYTHONPATH.

v2 tells the other side of each trade; v3 aborts its process, v4 never comes back, v5 takes memory without end.
"""

import os

import msgspec

from ssmd.protocols import decoder
from ssmd.protocols.decoder import FeedDecoder

EVERY = 2_000
"""The records after which a bad version does it."""


class OtherSide(FeedDecoder):
    def _trade(self, draft, print_):
        side = {"buy": "sell", "sell": "buy"}[print_.side]
        super()._trade(draft, msgspec.structs.replace(print_, side=side))


class _Sometimes(FeedDecoder):
    fed = 0

    def feed(self, record):
        self.fed += 1
        if self.fed > EVERY:
            self.misbehave()
        return super().feed(record)

    def misbehave(self):
        raise NotImplementedError


class Aborts(_Sometimes):
    def misbehave(self):
        os.abort()


class Hangs(_Sometimes):
    def misbehave(self):
        while True:
            pass


class Hoards(_Sometimes):
    hoard: tuple = ()

    def misbehave(self):
        self.hoard = (self.hoard, bytearray(1 << 20))


VERSIONS = {"v2": OtherSide, "v3": Aborts, "v4": Hangs, "v5": Hoards}
decoder.VERSIONS.update(VERSIONS)
