"""`extends: other`: what a file does not say is taken from another environment."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ssmd.environment.problem import Problem
from ssmd.environment.schema import EXTENDS
from ssmd.environment.source import Mapping, Node, Scalar, Source, lookup, parse
from ssmd.environment.spec import NAME, PATTERNS
from ssmd.environment.structure import seen

MAX_CHAIN: Final = 8
NOT_TAKEN_OVER: Final = frozenset({"apiVersion", "kind", "metadata"})
"""What each file says of itself."""


def base_path(path: Path, name: str) -> Path:
    return path.with_name(f"{name}.yaml")


def resolve(
    source: Source, path: Path, read: Callable[[Path], bytes], chain: tuple[str, ...] = ()
) -> tuple[Mapping | None, list[Problem]]:
    """Return the tree of a file with everything filled in that it takes over, and what is wrong on the way."""
    problems = list(source.problems)
    if source.root is None:
        return None, problems
    root = _keeping(source.root, lambda key: key != EXTENDS)
    named = lookup(source.root, (EXTENDS,))
    if named is None:
        return root, problems
    base, more = _base(named, path, read, (*chain, path.stem))
    problems += more
    return (root if base is None else _merged(_keeping(base, lambda key: key not in NOT_TAKEN_OVER), root)), problems


def _base(
    named: Node, path: Path, read: Callable[[Path], bytes], chain: tuple[str, ...]
) -> tuple[Mapping | None, list[Problem]]:
    name = named.value if isinstance(named, Scalar) else None
    if not isinstance(name, str) or not re.fullmatch(NAME, name):  # it becomes a path: nothing else may pass
        message = f"extends is {seen(named)}"
        hint = "name one environment of the same folder"
        return None, [Problem("extends", message, named.mark, PATTERNS[NAME], hint, EXTENDS)]
    if name in chain:
        circle = " -> ".join((*chain[chain.index(name) :], name))
        hint = "let one of them say what it needs itself"
        return None, [Problem("circular", f"Circular dependency: {circle}", named.mark, hint=hint, path=EXTENDS)]
    if len(chain) >= MAX_CHAIN:
        message = f"{' -> '.join((*chain, name))} is a long way to look for a value"
        return None, [Problem("extends", message, named.mark, f"at most {MAX_CHAIN} environments", path=EXTENDS)]
    other = base_path(path, name)
    try:
        content = read(other)
    except OSError as error:
        message = f"Environment '{name}' to extend not found"
        hint = f"{other} cannot be read: {error.strerror}"
        return None, [Problem("extends", message, named.mark, hint=hint, path=EXTENDS)]
    return resolve(parse(content, str(other)), other, read, chain)


def _keeping(node: Mapping, wanted: Callable[[object], bool]) -> Mapping:
    return Mapping(tuple(item for item in node.items if wanted(item[0].value)), node.mark, node.is_flow)


def _merged(base: Node, own: Node) -> Mapping:
    """Return mappings merged key by key; anything else, lists too, is replaced as a whole."""
    assert isinstance(base, Mapping) and isinstance(own, Mapping)  # noqa: PT018, S101  # narrowed by the callers
    items = []
    for key, value in base.items:
        mine = own.get(str(key.value))
        if mine is None:
            items.append((key, value))
        elif isinstance(mine, Mapping) and isinstance(value, Mapping):
            items.append((key, _merged(value, mine)))
        else:
            items.append((key, mine))
    taken = {key.value for key, _ in base.items}
    items += [item for item in own.items if item[0].value not in taken]
    return Mapping(tuple(items), own.mark, own.is_flow)
