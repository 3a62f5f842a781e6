"""Compare who may read what with an environment's file, and decide what has to change. Pure.

The file is the record, with one exception: what a person has revoked comes back by a person's grant only, so that a file
from before the revoke cannot undo it.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import ClientType, Grant
from ssmd.gateway.clients import EVERY_FEED, Client, Policy, atoms, grants_of, narrowed


class Wanted(Struct, frozen=True):
    """A client as a file has it."""

    client_id: str
    type: ClientType
    name: str = ""
    max_devices: int | None = None
    grants: tuple[Grant, ...] = ()


class Step(Struct, frozen=True):
    """What is to be done with one client, and in words why. after: None when it goes away."""

    action: Literal["add", "change", "remove"]
    client_id: str
    detail: str
    after: Client | None = None


class Refusal(Struct, frozen=True):
    """What the file grants and a revoke forbids. It stays as it is."""

    client_id: str
    feed: str
    symbols: tuple[str, ...]
    detail: str


class Plan(Struct, frozen=True):
    """Everything that differs. Without steps, gateway and file say the same but for what is refused."""

    steps: tuple[Step, ...] = ()
    refused: tuple[Refusal, ...] = ()


def plan(policy: Policy, wanted: Sequence[Wanted], at_ns: int) -> Plan:
    """Return what brings the policy to what the file wants."""
    known = {client.client_id: client for client in policy.clients}
    steps: list[Step] = []
    refused: list[Refusal] = []
    for each in wanted:
        before = known.pop(each.client_id, None)
        forbidden = {mark.feed for mark in policy.marks if mark.client_id == each.client_id}
        if before is None and EVERY_FEED in forbidden:
            detail = "the client was removed; only `ssmd client add` brings it back"
            refused.append(Refusal(each.client_id, EVERY_FEED, (), detail))
            continue
        grants, not_again = _allowed(each, before.grants if before is not None else (), forbidden)
        refused += not_again
        steps += _step(before, _as_client(each, before, grants, at_ns))
    steps += [
        Step("remove", client.client_id, "the file does not have it")
        for client in known.values()
        if client.origin == "file"
    ]
    return Plan(tuple(steps), tuple(refused))


def _allowed(wanted: Wanted, held: Iterable[Grant], forbidden: set[str]) -> tuple[tuple[Grant, ...], list[Refusal]]:
    """Return the grants that the file may make, and what a revoke forbids it."""
    free = [grant for grant in wanted.grants if not forbidden & {grant.feed, EVERY_FEED}]
    marked = [grant for grant in wanted.grants if grant not in free]
    if not marked:
        return tuple(free), []
    asked, left = atoms(marked), narrowed(atoms(marked), atoms(held))
    lost: dict[str, list[str]] = {}
    for feed, symbol, _ in (atom for atom in asked if atom not in left or asked[atom] != left[atom]):
        lost.setdefault(feed, []).append(symbol)
    detail = "revoked; only `ssmd client entitle` grants it again"
    refused = [Refusal(wanted.client_id, feed, tuple(dict.fromkeys(symbols)), detail) for feed, symbols in lost.items()]
    return (*free, *grants_of(left)), refused


def _as_client(wanted: Wanted, before: Client | None, grants: tuple[Grant, ...], at_ns: int) -> Client:
    base = before or Client(wanted.client_id, wanted.type, created_ns=at_ns)
    return replace(
        base,
        type=wanted.type,
        name=wanted.name,
        limits=replace(base.limits, devices=wanted.max_devices),
        grants=grants,
        origin="file",
    )


def _step(before: Client | None, after: Client) -> list[Step]:
    if before is None:
        return [
            Step("add", after.client_id, f"{after.type}; `ssmd client rotate {after.client_id}` makes it a key", after)
        ]
    differences = list(_differences(before, after))
    return [Step("change", after.client_id, "; ".join(differences), after)] if differences else []


def _differences(before: Client, after: Client) -> Iterable[str]:
    if before.type != after.type:
        yield f"type {before.type} -> {after.type}"
    if before.name != after.name:
        yield f"name {before.name!r} -> {after.name!r}"
    if before.limits.devices != after.limits.devices:
        yield f"devices {before.limits.devices or 'as everybody'} -> {after.limits.devices or 'as everybody'}"
    if atoms(before.grants) != atoms(after.grants):
        yield f"{_words(before.grants)} -> {_words(after.grants)}"
    if before.origin != after.origin:
        yield "the file has it now"


def _words(grants: Iterable[Grant]) -> str:
    return ", ".join(_grant_words(grant) for grant in grants if grant.symbols) or "nothing"


def _grant_words(grant: Grant) -> str:
    types = f" ({' '.join(grant.data_types)})" if grant.data_types else ""
    until = "" if grant.expires_ns is None else f" until {_moment(grant.expires_ns)}"
    return f"{grant.feed}: {' '.join(grant.symbols)}{types}{until}"


def _moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%MZ")
