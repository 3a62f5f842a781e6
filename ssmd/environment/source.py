"""An environment file as a tree in which every key and value knows its place, so that errors can point at it.

Only plain YAML is let in: one document of mappings, lists and scalars. What other readers of YAML understand in
another way (`no`, `010`, `1:30`) is refused rather than guessed.
"""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Final

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from ssmd.environment.problem import Mark, Problem
from ssmd.environment.scalars import Plain, is_ambiguous, is_switch, typed

MAX_FILE_BYTES: Final = 256 << 10
MAX_NESTING: Final = 20

_SHOWN_CHARS: Final = 60
_COLON: Final = re.compile(r"[ \t]*:")

_MERGE: Final = "<<"
_ILLEGAL: Final = re.compile(
    r"[^\t\n\r -~\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)
"""Control characters, signs that turn the reading order, line ends that not every tool takes for one."""

_BYTE_ORDER_MARK: Final = "\ufeff"


class Scalar(Struct, frozen=True):
    value: Plain
    mark: Mark


class Mapping(Struct, frozen=True, dict=True):
    """is_flow: written as `{a: b}`."""

    items: "tuple[tuple[Scalar, Node], ...]"
    mark: Mark
    is_flow: bool = False

    def get(self, key: str) -> "Node | None":
        """Return the value of a key, of the first one if it stands there twice."""
        found = self._first.get(key)
        return None if found is None else found[1]

    def key(self, key: str) -> Scalar | None:
        found = self._first.get(key)
        return None if found is None else found[0]

    @cached_property
    def _first(self) -> "dict[Plain, tuple[Scalar, Node]]":
        """The items by key: a file may hold tens of thousands, and an error looks each up."""
        return {item[0].value: item for item in reversed(self.items)}


class Sequence(Struct, frozen=True):
    items: "tuple[Node, ...]"
    mark: Mark
    is_flow: bool = False


Node = Scalar | Mapping | Sequence
Path = tuple[str | int, ...]


class Source(Struct, frozen=True):
    """A file's text and what it means. root is None when it cannot be read at all; `problems` then says why."""

    file: str
    text: str
    root: Mapping | None
    problems: tuple[Problem, ...]


@lru_cache(maxsize=4)  # an edit reads its result back, and then it is inspected: the same text each time
def parse(content: bytes, file: str) -> Source:
    """Return the tree of a file with everything that is wrong with it as YAML."""
    if len(content) > MAX_FILE_BYTES:
        size = f"the file has {len(content)} bytes"
        return Source(file, "", None, (Problem("size", size, Mark(file, 1, 1), allowed=f"at most {MAX_FILE_BYTES}"),))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        mark = _point(file, content[: error.start].decode(), error.start)
        byte = f"the byte 0x{content[error.start]:02x} is not UTF-8 text"
        return Source(file, "", None, (Problem("encoding", byte, mark, hint="save the file as UTF-8"),))
    if illegal := _ILLEGAL.search(text):
        return Source(file, text, None, (_illegal(file, text, illegal.start()),))
    builder = _Builder(file, text)
    root = builder.document()
    return Source(file, text, root, tuple(builder.problems))


def _point(file: str, before: str, offset: int) -> Mark:
    """Return the place behind a text."""
    line_start = before.rfind("\n") + 1
    return Mark(file, before.count("\n") + 1, len(before) - line_start + 1, start=offset, end=offset)


def _illegal(file: str, text: str, offset: int) -> Problem:
    character = text[offset]
    hint = "delete it"
    if character == _BYTE_ORDER_MARK:
        hint = "save the file as UTF-8 without a byte order mark"
    elif character in "\r\x85\u2028\u2029":
        hint = "end lines with LF or CRLF"
    said = f"the character {character!a} is not allowed"
    return Problem("character", said, _point(file, text[:offset], offset), hint=hint)


def lookup(node: Node | None, path: Path) -> Node | None:
    """Return the node at a path of keys and indexes, None where there is none."""
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str):
            node = node.get(step)
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def mapping(node: Node | None, *path: str | int) -> Mapping | None:
    found = lookup(node, path)
    return found if isinstance(found, Mapping) else None


def elements(node: Node | None, *path: str | int) -> tuple[Node, ...]:
    """Return the elements of the list at a path; none where there is no list."""
    found = lookup(node, path)
    return found.items if isinstance(found, Sequence) else ()


def text(node: Node | None, *path: str | int) -> Scalar | None:
    """Return the scalar at a path if it is text."""
    found = lookup(node, path)
    return found if isinstance(found, Scalar) and isinstance(found.value, str) else None


def plain(node: Node) -> object:
    """Return the tree as dicts, lists and scalars; of a duplicate key the first counts."""
    if isinstance(node, Mapping):
        values: dict[str, object] = {}
        for key, value in node.items:
            values.setdefault(str(key.value), plain(value))
        return values
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.value


class _Stop(Exception):  # not an error: the rest of the file cannot be read
    pass


class _Builder:
    """Makes the tree from ruamel's events; notes what is not plain and goes on where it can."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
        self._depth = 0
        self._reached = Mark(file, 1, 1)
        self.problems: list[Problem] = []

    def document(self) -> Mapping | None:
        root: Node | None = None
        try:
            while not isinstance(event := self._next(), StreamEndEvent):
                if isinstance(event, DocumentStartEvent):
                    if event.version or event.tags:
                        self._note(
                            "directive", "a % directive is not allowed", event, hint="delete the line with the %"
                        )
                    if root is not None:
                        self._note("documents", "a second YAML document begins", event, "one document in a file")
                        break
                    root = self._node(self._next())
        except _Stop:
            return None
        if isinstance(root, Mapping):
            return root
        hint = "`ssmd env create NAME --from-template minimal` shows what one looks like"
        self.problems.append(Problem("structure", "the file holds no environment", Mark(self._file, 1, 1), hint=hint))
        return None

    def _next(self) -> Event:
        try:
            event: Event = next(self._events)
        except MarkedYAMLError as error:
            where = error.problem_mark or error.context_mark
            said = " ".join(filter(None, (error.context, error.problem)))
            hint = "indent with spaces" if "'\\t'" in said else ""
            mark = self._marked(where) if where else self._reached
            self.problems.append(Problem("syntax", f"not YAML: {said}", mark, hint=hint))
        except (YAMLError, ValueError, OverflowError) as error:  # the last two: "\UFFFFFFFF" is no character
            said = " ".join(str(error).split())
            self.problems.append(
                Problem("syntax", f"not YAML: what follows here cannot be read: {said}", self._reached)
            )
        else:
            self._reached = self._marked(event.end_mark)
            return event
        raise _Stop

    def _node(self, event: Event) -> Node:
        if isinstance(event, AliasEvent):
            self._note("alias", f"the alias *{event.anchor} is not allowed", event, hint="write the value out")
            return Scalar(None, self._mark(event))
        if isinstance(event, NodeEvent) and event.anchor:
            self._note("alias", f"the anchor &{event.anchor} is not allowed", event, hint="write the value out")
        if isinstance(event, (ScalarEvent, CollectionStartEvent)) and event.tag:
            self._note("tag", f"the tag {event.tag} is not allowed", event, hint="write the plain value")
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._note("nesting", "nested too deeply", event, f"at most {MAX_NESTING} levels")
            raise _Stop
        node = self._sequence(event) if isinstance(event, SequenceStartEvent) else self._mapping(event)
        self._depth -= 1
        return node

    def _scalar(self, event: ScalarEvent) -> Scalar:
        value = event.value
        if not value.isprintable():
            said = f"a line break or an invisible character in {value[:_SHOWN_CHARS]!a}"
            self._note("character", said, event, hint="write it in one line of visible characters")
        if event.style not in {None, ""}:
            return Scalar(value, self._trimmed(event))
        if value == _MERGE:
            self._note("merge", "the merge key << is not allowed", event, hint="write the values out")
        elif is_ambiguous(value):
            plain_form = "true or false" if is_switch(value) else "a plain decimal number"
            said = f"{value[:_SHOWN_CHARS]} means different things to different YAML readers"
            hint = f'write {plain_form}, or "{value[:_SHOWN_CHARS]}" for the text'
            self._note("ambiguous", said, event, hint=hint)
        return Scalar(typed(value), self._mark(event))

    def _sequence(self, start: SequenceStartEvent) -> Sequence:
        items = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event))
        return Sequence(tuple(items), self._mark(start, event), bool(start.flow_style))

    def _mapping(self, start: Event) -> Mapping:
        items: list[tuple[Scalar, Node]] = []
        seen: dict[str, Mark] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            name, mark = self._key(event)
            if name in seen:
                self._note("duplicate", f"'{name}' stands here a second time", event, hint=f"first {seen[name]}")
            seen.setdefault(name, mark)
            items.append((Scalar(name, mark), self._value(mark)))
        return Mapping(tuple(items), self._mark(start, event), bool(getattr(start, "flow_style", False)))

    def _key(self, event: Event) -> tuple[str, Mark]:
        """Return a key as text; what is none is noted, and the text is then unlike any other."""
        key = self._node(event)
        if isinstance(key, Scalar) and isinstance(key.value, str):
            return key.value, key.mark
        mark = self._mark(event)
        said = self._text[mark.start : mark.end] if isinstance(key, Scalar) else ""
        if not isinstance(event, AliasEvent):
            hint = f'write "{said}" for the text' if said else ""
            self._note("key", "a key must be text", event, hint=hint)
        return f"?{mark.start}", mark

    def _value(self, key: Mark) -> Node:
        value = self._node(self._next())
        if not isinstance(value, Scalar) or value.mark.end > value.mark.start:
            return value
        # nothing stands there: ruamel's mark may be that of the next token, ours is right behind the colon
        colon = _COLON.match(self._text, key.end)
        at = colon.end() if colon else key.end
        column = key.end_column + at - key.end
        return Scalar(value.value, Mark(self._file, key.end_line, column, key.end_line, column, at, at))

    def _note(self, code: str, said: str, event: Event, allowed: str = "", hint: str = "") -> None:
        self.problems.append(Problem(code, said, self._mark(event), allowed=allowed, hint=hint))

    def _mark(self, start: Event, end: Event | None = None) -> Mark:
        first, last = start.start_mark, (end or start).end_mark
        return Mark(
            self._file, first.line + 1, first.column + 1, last.line + 1, last.column + 1, first.index, last.index
        )

    def _trimmed(self, event: Event) -> Mark:
        """Return the span of a scalar without the blank lines behind it, which ruamel counts to a block scalar."""
        mark = self._mark(event)
        said = self._text[mark.start : mark.end].rstrip()
        start = said.rfind("\n") + 1
        end_column = len(said) - start + (1 if start else mark.column)
        end_line = mark.line + said.count("\n")
        return Mark(self._file, mark.line, mark.column, end_line, end_column, mark.start, mark.start + len(said))

    def _marked(self, mark: StringMark) -> Mark:
        return Mark(self._file, mark.line + 1, mark.column + 1, start=mark.index, end=mark.index)
