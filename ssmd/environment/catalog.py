"""What checking an environment needs to know of the exchanges; the composition root fills it in."""

from collections.abc import Callable, Mapping

from msgspec import Struct


class FeedFacts(Struct, frozen=True):
    """One exchange. names: everything it lists, in its own spelling; empty when no list is at hand.

    list_source: where the list is from and how old it is, for people. spell: turns another spelling of a name into
    the exchange's own, for hints.
    """

    names: frozenset[str]
    list_source: str
    spell: Callable[[str], str]
    max_book_depth: int | None = None
    normalizers: tuple[str, ...] = ("v1",)


Catalog = Mapping[str, FeedFacts]
