"""STYLE.md section 10: who may import whom, and the few rules of sections 4 to 6 that no linter has.

Each rule is also tried on a small planted violation: a check that cannot fail is worth nothing.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
VENUES: Final = ("kraken", "coinbase", "binance")

LAYER_0: Final = ("model", "records", "errors", "clock", "metrics", "log", "settings")
LAYER_1: Final = ("protocols", "codec", "store.keys", "store.key_rules", "environment", "supervisor", "blocking")
GATEWAY_VALUES: Final = ("gateway.access", "gateway.clients", "gateway.reconcile")
SEAMS: Final = ("bus.base", "store.base", "journal")

GATEWAY_KNOWS: Final = ("actors.edition", "actors.report", "actors.symbol_watcher", "archive")
"""Names and records of others that the gateway reads: who archives what, live configuration, reports, the ledger."""

NO_IO: Final = ("trio", "os", "pathlib", "io", "socket", "ssl", "subprocess", "shutil", "tempfile", "asyncio")
NO_SOCKETS: Final = ("trio", "socket", "ssl", "subprocess", "asyncio", "httpx", "h11")
NO_CLOCK: Final = (*NO_SOCKETS, "time", "random", "os", "pathlib", "ssmd.clock.now_ns")


class Layer(NamedTuple):
    """may: the parts of ssmd it may import, itself apart. never: other modules it must do without."""

    may: tuple[str, ...]
    never: tuple[str, ...] = ()
    venues: bool = False


EVERYTHING: Final = (
    *LAYER_0,
    *LAYER_1,
    "bus",
    "store",
    "journal",
    "gateway",
    "actors",
    "archive",
    "reprocess",
    "backup",
    "simulator",
)

LAYERS: Final = {
    **dict.fromkeys(LAYER_0, Layer(LAYER_0, never=NO_IO)),
    "settings": Layer(LAYER_0, never=("trio", "socket", "asyncio")),
    "protocols": Layer(LAYER_0, never=NO_CLOCK, venues=True),
    "codec": Layer(LAYER_0, never=NO_SOCKETS),
    "store.keys": Layer((*LAYER_0, "store.key_rules"), never=NO_SOCKETS),
    "store.key_rules": Layer(LAYER_0, never=NO_SOCKETS),
    "environment": Layer(LAYER_0, never=NO_SOCKETS),
    "supervisor": Layer(LAYER_0),
    "blocking": Layer(LAYER_0),
    "journal": Layer((*LAYER_0, *LAYER_1)),
    "bus": Layer((*LAYER_0, *LAYER_1)),
    "store": Layer((*LAYER_0, *LAYER_1)),
    **dict.fromkeys(GATEWAY_VALUES, Layer((*LAYER_0, *GATEWAY_VALUES), never=NO_SOCKETS)),
    "gateway.database": Layer((*LAYER_0, *LAYER_1, *GATEWAY_VALUES)),
    "actors": Layer((*LAYER_0, *LAYER_1, *SEAMS, "archive")),
    "gateway": Layer((*LAYER_0, *LAYER_1, *SEAMS, *GATEWAY_KNOWS)),
    "archive": Layer((*LAYER_0, "protocols", "codec", "store.base", "store.keys", "blocking")),
    "reprocess": Layer((*LAYER_0, "protocols", "codec", "store.base", "store.keys", "archive"), venues=True),
    "backup": Layer((*LAYER_0, "protocols", "codec", "store.base", "store.keys", "archive")),
    "simulator": Layer(LAYER_0),
    "client": Layer((), never=("trio",)),  # whoever installs it alone gets nothing else of ours to run
    "run_files": Layer((*LAYER_0, "journal")),
    "trees": Layer((*EVERYTHING, "run_files"), venues=True),
    "cli": Layer(
        (*LAYER_0, "environment", "run_files", "trees", "archive", "reprocess", "backup", "simulator", "client")
    ),
    "__main__": Layer(("cli",)),
    "": Layer(()),
}

NARROW: Final = {
    "asyncio": ("ssmd/bus/", "ssmd/cli/admin"),
    "nats": ("ssmd/bus/",),
    "obstore": ("ssmd/store/",),
    "wsproto": (
        "ssmd/client/live.py",
        "ssmd/gateway/live/frames.py",
        "ssmd/gateway/live/handshake.py",
        "ssmd/actors/transport.py",
        "ssmd/simulator/",
    ),
    "trio_websocket": ("ssmd/actors/transport.py", "ssmd/simulator/"),
    "h11": ("ssmd/actors/ops.py", "ssmd/simulator/", "ssmd/gateway/"),
    "quart": ("ssmd/gateway/",),
    "quart_trio": ("ssmd/gateway/web/app.py",),
    "hypercorn": ("ssmd/gateway/web/http_connection.py",),
    "werkzeug": ("ssmd/gateway/",),
    "capnp": ("ssmd/codec/",),
    "anyio": ("ssmd/reprocess/", "ssmd/client/"),
    "httpx_ws": ("ssmd/client/",),
    "sqlite3": ("ssmd/gateway/database",),
    "trio_asyncio": (),
    "typing.Any": ("ssmd/bus/", "ssmd/codec/", "ssmd/gateway/formats/tables.py"),
    "pyarrow": ("ssmd/gateway/formats/tables.py", "ssmd/client"),
    "os.environ": ("ssmd/settings.py", "ssmd/client/place.py"),
    "os.getenv": ("ssmd/settings.py",),
    "trio.run": ("ssmd/cli/", "ssmd/reprocess/processes.py"),
    "subprocess": ("ssmd/supervisor/process.py", "ssmd/bus/server.py", "ssmd/cli/"),
    "trio.run_process": ("ssmd/supervisor/process.py", "ssmd/cli/"),
    "trio.lowlevel.open_process": ("ssmd/supervisor/process.py",),
}

NARROW_BY_HEAD: Final = {
    head: tuple(name for name in NARROW if name.partition(".")[0] == head)
    for head in {name.partition(".")[0] for name in NARROW}
}

VENUE_NAMES_ALLOWED: Final = {
    "ssmd/gateway/description/": "examples that work when they are tried on the docs page",
    "ssmd/protocols/": "one file per exchange",
    "ssmd/simulator/": "it plays the exchanges",
    "ssmd/settings.py": "one section per exchange, fixed by the contract",
    "ssmd/trees": "where concrete classes meet",
    "ssmd/cli/": "`ssmd simulate kraken`, and examples in help texts that work in the demo",
}

Rule = Callable[[str, str, ast.Module], Iterator[str]]


def within(name: str, parts: tuple[str, ...]) -> bool:
    """Tell whether a dotted name is one of the parts or lies inside one."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give (line, full dotted name) of everything imported, function bodies included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def module_of(path: str) -> str:
    """Return the dotted name inside ssmd: `store.keys`, `actors.session`, or nothing for ssmd itself."""
    return path.removeprefix("ssmd/").removesuffix(".py").removesuffix("__init__").rstrip("/").replace("/", ".")


def unit_of(module: str) -> str | None:
    """Return the entry of LAYERS that a module belongs to: the longest one."""
    fitting = [unit for unit in LAYERS if unit and within(module, (unit,))] if module else [""]
    return max(fitting, key=len, default=None)


def layering(path: str, _source: str, tree: ast.Module) -> Iterator[str]:
    unit = unit_of(module_of(path))
    if unit is None:
        yield f"{path}:1: belongs to no layer; add it to LAYERS"
        return
    layer = LAYERS[unit]
    for line, name in imports(tree):
        if name.startswith("."):
            yield f"{path}:{line}: imports {name}; write the whole name"
        elif within(name, layer.never):
            yield f"{path}:{line}: {unit} does without {name}"
        elif within(name, ("ssmd",)) and not _may(unit, layer, name.removeprefix("ssmd").lstrip(".")):
            yield f"{path}:{line}: {unit} may not import {name}"


def _may(unit: str, layer: Layer, name: str) -> bool:
    if name == "__version__":
        return True
    if name.startswith(tuple(f"protocols.{venue}" for venue in VENUES)) and not layer.venues:
        return False
    return within(name, (*layer.may, unit))


def narrow_imports(path: str, _source: str, tree: ast.Module) -> Iterator[str]:
    attributes = ((node.lineno, dotted(node)) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    # `nats.url` may be anybody's variable, so attributes count only for the rules that name one
    used = [*((line, name, True) for line, name in imports(tree)), *((line, name, False) for line, name in attributes)]
    for line, name, is_import in used:
        for banned in NARROW_BY_HEAD.get(name.partition(".")[0], ()):
            allowed = NARROW[banned]
            if within(name, (banned,)) and (is_import or banned == name) and not path.startswith(allowed):
                yield f"{path}:{line}: {name} belongs to {', '.join(allowed) or 'no file'}"


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a chain of attributes of a name, else nothing that a rule could name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def broad_except(path: str, _source: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"nothing"}
        if caught & {"nothing", "BaseException"} and not _raises_again(node):
            yield f"{path}:{node.lineno}: BaseException is caught only to clean up and re-raise"
        if "Exception" in caught and not path.startswith("ssmd/supervisor/"):
            yield f"{path}:{node.lineno}: except Exception belongs to the supervisor"


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def venue_names(path: str, source: str, _tree: ast.Module) -> Iterator[str]:
    if path.startswith(tuple(VENUE_NAMES_ALLOWED)):
        return
    for number, line in enumerate(source.splitlines(), 1):
        if re.search("|".join(VENUES), line, re.IGNORECASE):
            yield f"{path}:{number}: names an exchange: {line.strip()}"


def endless_shields(path: str, _source: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(getattr(target, "attr", "") == "shield" for target in node.targets):
            yield f"{path}:{node.lineno}: a shield is made together with its deadline"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("CancelScope"):
            words = {word.arg for word in node.keywords}
            if "shield" in words and not words & {"deadline", "relative_deadline"}:
                yield f"{path}:{node.lineno}: a shield without a deadline"


def untyped_records(path: str, _source: str, tree: ast.Module) -> Iterator[str]:
    """A private function of the bus may be a callback whose signature asyncio prescribes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if path.startswith("ssmd/bus/") and node.name.startswith("_"):
                continue
            parts = [*ast.walk(node.args), *(ast.walk(node.returns) if node.returns else ())]
            if any(isinstance(part, ast.Subscript) and ast.unparse(part) == "dict[str, Any]" for part in parts):
                yield f"{path}:{node.lineno}: {node.name} takes or gives dict[str, Any]; make it a struct"


RULES: Final[tuple[Rule, ...]] = (
    layering,
    narrow_imports,
    broad_except,
    venue_names,
    endless_shields,
    untyped_records,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_to(rule: Rule) -> None:
    files = {path: path.read_text() for path in sorted((ROOT / "ssmd").rglob("*.py"))}
    found = [
        violation
        for path, source in files.items()
        for violation in rule(path.relative_to(ROOT).as_posix(), source, ast.parse(source))
    ]
    assert not found, "\n".join(["", *found])


PLANTED: Final = [
    (layering, "ssmd/model.py", "import trio"),
    (layering, "ssmd/log.py", "from pathlib import Path"),
    (layering, "ssmd/errors.py", "from ssmd.codec import raw"),
    (layering, "ssmd/protocols/base.py", "def f():\n    from trio import Event"),
    (layering, "ssmd/protocols/book.py", "from ssmd.clock import now_ns"),
    (layering, "ssmd/supervisor/cell.py", "from ssmd.records import Record\nfrom ssmd.protocols import base"),
    (layering, "ssmd/journal/journal.py", "from ssmd.protocols.kraken import Kraken"),
    (layering, "ssmd/journal/journal.py", "import ssmd.bus.base"),
    (layering, "ssmd/actors/session.py", "from ssmd.protocols.coinbase_frames import Parser"),
    (layering, "ssmd/actors/publisher.py", "from ssmd.bus import nats"),
    (layering, "ssmd/actors/publisher.py", "from ssmd.bus.nats import Bus"),
    (layering, "ssmd/actors/session.py", "from .transport import connect"),
    (layering, "ssmd/reprocess/run.py", "from ssmd.actors.pipeline import Batch"),
    (layering, "ssmd/backup/copying.py", "from ssmd.store.objects import local_store"),
    (layering, "ssmd/simulator/server.py", "from ssmd.store.base import Store"),
    (layering, "ssmd/cli/feed.py", "from ssmd.bus.base import Bus"),
    (layering, "ssmd/client/http.py", "from ssmd.errors import SsmdError"),
    (layering, "ssmd/client/aio.py", "import trio"),
    (layering, "ssmd/store/objects.py", "from ssmd.actors import sealer"),
    (layering, "ssmd/utils.py", ""),
    (narrow_imports, "ssmd/actors/session.py", "import asyncio"),
    (narrow_imports, "ssmd/actors/session.py", "from trio_websocket import open_websocket"),
    (narrow_imports, "ssmd/actors/publisher.py", "import nats.js"),
    (narrow_imports, "ssmd/gateway/live/hub.py", "from wsproto import WSConnection"),
    (narrow_imports, "ssmd/actors/sealer.py", "import obstore"),
    (narrow_imports, "ssmd/trees.py", "import os\nos.environ['X']"),
    (narrow_imports, "ssmd/trees.py", "from os import environ"),
    (narrow_imports, "ssmd/trees.py", "import trio\ntrio.run(main)"),
    (narrow_imports, "ssmd/actors/session.py", "from typing import Any"),
    (broad_except, "ssmd/actors/session.py", "try: f()\nexcept Exception: raise"),
    (broad_except, "ssmd/actors/session.py", "try: f()\nexcept (ValueError, Exception) as error: g(error)"),
    (broad_except, "ssmd/supervisor/run.py", "try: f()\nexcept BaseException: g()"),
    (broad_except, "ssmd/supervisor/run.py", "try: f()\nexcept: g()"),
    (broad_except, "ssmd/bus/nats.py", "try: f()\nexcept BaseException as error: raise Other from error"),
    (venue_names, "ssmd/actors/session.py", "URL = 'wss://ws.Kraken.com/v2'"),
    (endless_shields, "ssmd/actors/session.py", "with trio.CancelScope(shield=True): pass"),
    (endless_shields, "ssmd/actors/session.py", "scope.shield = True"),
    (untyped_records, "ssmd/bus/nats.py", "def f(self, config: dict[str, Any] | None): ..."),
    (untyped_records, "ssmd/bus/nats.py", "async def f() -> list[dict[str, Any]]: ..."),
]


@pytest.mark.parametrize(("rule", "path", "source"), PLANTED)
def test_a_planted_violation_is_found(rule: Rule, path: str, source: str) -> None:
    assert len(list(rule(path, source, ast.parse(source)))) == 1


KEPT: Final = [
    ("ssmd/store/keys.py", "from ssmd.model import is_token"),
    (
        "ssmd/actors/session.py",
        "import trio\nfrom ssmd import metrics\nfrom ssmd.protocols.subscriptions import Change",
    ),
    (
        "ssmd/actors/sealer.py",
        "from ssmd.store.keys import RawKey\nfrom ssmd.store.base import Store\nsettings.nats.url",
    ),
    ("ssmd/trees.py", "from ssmd.protocols.kraken import Kraken\ntrio.run_later"),
    ("ssmd/supervisor/run.py", "try: f()\nexcept Exception: g()"),
    ("ssmd/supervisor/mailbox.py", "try: f()\nexcept BaseException:\n    g()\n    raise"),
    ("ssmd/actors/session.py", "with trio.CancelScope(shield=True, deadline=soon): pass"),
    ("ssmd/actors/session.py", "with trio.move_on_after(5, shield=True): pass"),
    ("ssmd/bus/link.py", "from typing import Any\ndef _on_lost_task(self, context: dict[str, Any]): ..."),
]


@pytest.mark.parametrize(("path", "source"), KEPT)
def test_what_is_allowed_is_not_complained_about(path: str, source: str) -> None:
    assert [violation for rule in RULES for violation in rule(path, source, ast.parse(source))] == []
