"""Show what is wrong with an environment: as `ssmd env validate` says it, for machines, and for GitHub."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd.cli.output import console, show_record, styled
from ssmd.environment.load import Inspection
from ssmd.environment.problem import Mark, Problem
from ssmd.environment.source import Source, mapping

LONGEST_LINE: Final = 200
UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for what would act on the terminal instead of being shown."""


class ProblemRow(Struct, frozen=True):
    """A problem for machines."""

    file: str
    line: int
    column: int
    code: str
    path: str
    message: str
    allowed: str
    hint: str


class Report(Struct, frozen=True):
    """What `ssmd env validate --output json` prints."""

    environment: str
    file: str
    valid: bool
    errors: tuple[ProblemRow, ...]
    warnings: tuple[ProblemRow, ...]
    instruments: dict[str, str]


def report(inspection: Inspection, instruments: dict[str, str]) -> Report:
    return Report(
        inspection.name,
        str(inspection.path),
        not inspection.problems,
        tuple(map(_row, inspection.problems)),
        tuple(map(_row, inspection.warnings)),
        instruments,
    )


def _row(problem: Problem) -> ProblemRow:
    mark = problem.mark
    return ProblemRow(
        mark.file, mark.line, mark.column, problem.code, problem.path, problem.message, problem.allowed, problem.hint
    )


def verdict(inspection: Inspection, unlisted: Sequence[str] = ()) -> Iterator[str]:
    """Give the lines of the answer: what holds, or everything that does not, and a sentence.

    unlisted: the feeds whose names could not be checked, because no instrument list is at hand.
    """
    if not inspection.problems:
        feeds = mapping(inspection.root, "spec", "feeds")
        for key, _ in feeds.items if feeds else ():
            yield f"✓ Feed '{key.value}' configuration valid"
        yield from (f"! Names on feed '{feed}' were not checked: no instrument list is at hand" for feed in unlisted)
        if not unlisted:
            yield "✓ All symbol mappings resolve"
        yield "✓ Storage buckets defined"
        yield "✓ Entitlements reference valid clients"
        yield "✓ No circular dependencies"
        yield f"Environment '{inspection.name}' is valid."
        return
    for problem in inspection.problems:
        yield from described(problem, "✗", inspection.source)
    count = len(inspection.problems)
    yield f"Environment '{inspection.name}' has {count} error{'' if count == 1 else 's'}."


def described(problem: Problem, sign: str, source: Source) -> Iterator[str]:
    """Give a problem as lines: what, where, the line of the file with the place marked, and what to do.

    source: the file that was inspected, since what is wrong with it need not have been written.
    """
    mark = problem.mark
    yield f"{sign} {problem.message}"
    yield f"  --> {mark}"
    line = _line(mark, source)
    if line is not None:
        number = str(mark.line)
        blank = " " * len(number)
        width = mark.end_column - mark.column if mark.end_line == mark.line else len(line) - mark.column + 1
        yield f"{blank} |"
        yield f"{number} | {line}"
        yield f"{blank} | {' ' * (mark.column - 1)}{'^' * max(1, width)}"
    if problem.allowed:
        yield f"   allowed: {problem.allowed}"
    if problem.hint:
        yield f"   hint: {problem.hint}"


def _line(mark: Mark, source: Source) -> str | None:
    lines = source.text.splitlines() if mark.file == source.file else _lines(mark.file)
    line = lines[mark.line - 1].expandtabs(1)[:LONGEST_LINE] if 0 < mark.line <= len(lines) else None
    return line and "".join(char if char.isprintable() else UNPRINTABLE for char in line)


def _lines(file: str) -> Sequence[str]:
    try:
        return Path(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ()


def github(inspection: Inspection) -> Iterator[str]:
    """Give annotations for a GitHub workflow."""
    for level, problems in (("error", inspection.problems), ("warning", inspection.warnings)):
        for problem in problems:
            mark = problem.mark
            more = "; ".join(filter(None, (problem.allowed and f"allowed: {problem.allowed}", problem.hint)))
            message = problem.message + (f" ({more})" if more else "")
            place = (
                f"file={_escaped(mark.file).replace(':', '%3A').replace(',', '%2C')},line={mark.line},col={mark.column}"
            )
            yield f"::{level} {place},title={problem.code}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def show(inspection: Inspection, output: str, instruments: dict[str, str]) -> None:
    if output in {"json", "yaml"}:
        show_record(report(inspection, instruments), "json" if output == "json" else "yaml")
    elif output == "github":
        sys.stdout.write("".join(f"{line}\n" for line in github(inspection)))
    else:
        print_lines(verdict(inspection, [feed for feed, source in instruments.items() if not source]))
        print_lines(
            (line for problem in inspection.warnings for line in described(problem, "!", inspection.source)),
            to_stderr=True,
        )


def print_lines(lines: Iterable[str], *, to_stderr: bool = False) -> None:
    into = console(to_stderr=to_stderr)
    for line in lines:
        into.print(styled(line))
