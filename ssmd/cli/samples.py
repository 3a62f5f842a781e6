"""Read a role's metrics, live or as its last words."""

from collections.abc import Iterable
from typing import Self

import httpx
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families


class Sample(Struct, frozen=True):
    name: str
    labels: dict[str, str]
    value: float


class Samples:
    """Every sample of one exposition; sums over labels that are not asked for."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._samples = tuple(samples)

    @classmethod
    def parse(cls, text: str) -> Self:
        families = text_string_to_metric_families(text)
        return cls(Sample(s.name, dict(s.labels), s.value) for family in families for s in family.samples)

    def __add__(self, other: "Samples") -> "Samples":
        return Samples((*self._samples, *other._samples))

    def __bool__(self) -> bool:
        return bool(self._samples)

    def all(self, name: str) -> Iterable[Sample]:
        return (sample for sample in self._samples if sample.name == name)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry these labels; 0 when there is none."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())


async def fetch(client: httpx.AsyncClient, url: str) -> Samples:
    """Return what a role says now; nothing when it does not answer (it may be restarting)."""
    try:
        answer = await client.get(f"{url}/metrics")
    except httpx.HTTPError:
        return Samples()
    return Samples.parse(answer.text) if answer.is_success else Samples()
