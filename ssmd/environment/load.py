"""Read an environment file: by path, or by name from ./environments or the ones that come with ssmd."""

import sys
from collections.abc import Callable, Iterator
from errno import ENOENT
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.environment.catalog import Catalog
from ssmd.environment.extend import resolve
from ssmd.environment.problem import Problem, dotted
from ssmd.environment.rules import BUCKETS, check_rules, warnings
from ssmd.environment.schema import EXTENDS
from ssmd.environment.source import MAX_FILE_BYTES, Mapping, Source, parse, plain, text
from ssmd.environment.spec import Environment
from ssmd.environment.structure import check_structure
from ssmd.errors import ConfigError
from ssmd.model import is_token

FOLDER: Final = Path("environments")

Files = dict[str, bytes]


class Inspection(Struct, frozen=True):
    """What a file says and everything that is wrong with it, in the order of the file.

    name: of the environment, as far as it is known. environment: None when there are problems.
    """

    path: Path
    name: str
    source: Source
    root: Mapping | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    environment: Environment | None

    def checked(self) -> Environment:
        """Return the environment. Raises ConfigError with the first problem and how many more there are."""
        if self.environment is not None:
            return self.environment
        more = len(self.problems) - 1
        rest = f"; and {more} more, `ssmd env validate {self.path}` shows all" if more else ""
        raise ConfigError(f"{self.problems[0].line()}{rest}")


def find(name: str) -> Path:
    """Return the file of an environment. Raises ConfigError that lists where it was looked for."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    if not is_token(name):
        raise ConfigError(f"environment {name!r}: give a name made of letters, digits, _ and -, or a file")
    tried = [folder / f"{name}.yaml" for folder in folders()]
    for path in tried:
        if path.exists():
            return path
    known = sorted({path.stem for folder in folders() for path in folder.glob("*.yaml")})
    raise ConfigError(
        f"environment {name!r} not found; there are {', '.join(known) or 'none'}, or give a file such as ./my.yaml "
        f"(looked for {', '.join(map(str, tried))})"
    )


def folders() -> list[Path]:
    """Return where environments are looked for: here first, then the ones that come with ssmd."""
    source = Path(__file__).parents[2] / "environments"
    shipped = Path(sys.prefix) / "share" / "ssmd" / "environments"
    return list(dict.fromkeys([FOLDER, source, shipped]))


def load(name: str) -> Environment:
    """Return an environment, checked as far as that is possible without knowing the exchanges.

    Raises ConfigError with the file and the place in it.
    """
    path = find(name)
    return inspect(path, read(path), {}).checked()


def called(name: str) -> str:
    """Return what an environment is called: as its file says, or as it is named when no file says so."""
    try:
        path = find(name)
        return inspect(path, read(path), {}).name
    except ConfigError:
        return Path(name).stem


def read(path: Path) -> bytes:
    if path.exists() and not (path.is_file() or path.is_dir()):  # to read a pipe may take for ever
        raise ConfigError(f"environment file {path} is no file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"environment file {path} cannot be read: {error.strerror}") from error


def files_of(path: Path) -> Files:
    """Return an environment's file and those that it extends, by the names that they go by in a folder."""
    content = read(path)
    found = {f"{inspect(path, content, {}).name}.yaml": content}

    def note(other: Path) -> bytes:
        return found.setdefault(other.name, other.read_bytes())

    resolve(parse(content, str(path)), path, note)
    return found


def from_files(name: str, files: Files) -> Environment:
    """Return an environment from files that need not be written yet. Raises ConfigError, as `load` does."""

    def content(path: Path) -> bytes:
        if path.name not in files:
            raise FileNotFoundError(ENOENT, "it is not among the files", str(path))
        return files[path.name]

    path = FOLDER / f"{name}.yaml"
    return inspect(path, files.get(path.name, b""), {}, content).checked()


def inspect(
    path: Path, content: bytes, catalog: Catalog, read_base: Callable[[Path], bytes] = Path.read_bytes
) -> Inspection:
    """Check the content of an environment file (which need not be written yet) as a whole; never raises."""
    source = parse(content, str(path))
    root, problems = resolve(source, path, read_base)
    found = list(problems)
    notes: list[Problem] = []
    if root is not None:
        has_base = not any(problem.path == EXTENDS for problem in problems)
        found += (each for each in check_structure(root) if has_base or each.code != "missing")
        found += check_rules(root, catalog)
        found += _check_neighbours(path, root)
        notes += warnings(root)
    problems = _first_per_place(found)
    stated = text(root, "metadata", "name")
    name = str(stated.value) if stated is not None else path.stem
    environment = msgspec.convert(plain(root), Environment) if root is not None and not problems else None
    return Inspection(path, name, source, root, tuple(problems), tuple(notes), environment)


def _first_per_place(problems: list[Problem]) -> list[Problem]:
    """Of several problems with one value, only the most basic is of use.

    What is wrong as YAML (it has no path) hides all else at its place. Otherwise one place may stand for several
    values: a key for everything that is missing below it.
    """
    first: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        mark = problem.mark
        place = (mark.file, mark.line, mark.column)
        if (*place, "") not in first:
            first.setdefault((*place, problem.path), problem)
    return sorted(first.values(), key=lambda problem: (problem.mark.file, problem.mark.line, problem.mark.column))


def _check_neighbours(path: Path, root: Mapping) -> Iterator[Problem]:
    """The name must lead to the file, and no other environment in the folder may use the same buckets."""
    name = text(root, "metadata", "name")
    if name is not None and path.parent.name == FOLDER.name and name.value != path.stem:
        hint = f"rename the file to {name.value}.yaml, or the environment to {path.stem}"
        message = f"the environment is named '{name.value}' in a file named {path.name}"
        yield Problem("name", message, name.mark, hint=hint, path="metadata.name")
    for other in sorted(path.parent.glob("*.yaml")):
        if other.name != path.name:
            yield from _shared_buckets(root, other)


def _shared_buckets(root: Mapping, other: Path) -> Iterator[Problem]:
    """Compare with a neighbour's buckets. One taken over from it is wrong by the naming convention already."""
    found = {kind: text(root, "spec", "storage", kind, "bucket") for kind in BUCKETS}
    wanted = {kind: bucket for kind, bucket in found.items() if bucket is not None and bucket.mark.file != str(other)}
    content = _content(other)
    if not any(str(bucket.value).encode(errors="replace") in content for bucket in wanted.values()):
        return  # most files: not worth reading
    theirs = parse(content, str(other)).root
    places = {str(b.value): b.mark for kind in BUCKETS if (b := text(theirs, "spec", "storage", kind, "bucket"))}
    for kind, bucket in wanted.items():
        if bucket.value in places:
            message = f"Storage bucket '{bucket.value}' is shared with environment '{other.stem}'"
            path = dotted(("spec", "storage", kind, "bucket"))
            yield Problem(
                "bucket", message, bucket.mark, "a bucket of its own", f"see {places[str(bucket.value)]}", path
            )


def _content(path: Path) -> bytes:
    """Return what a neighbour says; one that is no environment, or cannot be read, says nothing."""
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES else b""
    except OSError:
        return b""
