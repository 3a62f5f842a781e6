"""What `ssmd verify` does: prove an archive from its raw data and say where it cannot be proved."""

import sys
from typing import Final

from msgspec import Struct

from ssmd.cli.ledger import version_of
from ssmd.cli.options import Format
from ssmd.cli.output import say, show_record
from ssmd.cli.progress import progress
from ssmd.cli.reprocessing import Asked, rfc3339
from ssmd.environment.load import load
from ssmd.errors import ConfigError
from ssmd.reprocess.processes import OpenStore
from ssmd.reprocess.prune import versions_of
from ssmd.reprocess.run import Plan
from ssmd.reprocess.verify import Finding, MinuteResult, Report, VerifySpec, verify

SHOWN: Final = 20


class Verified(Struct, frozen=True):
    """The result as it is printed. minutes: one entry for each minute that has raw data."""

    ok: bool
    report: Report
    minutes: list[MinuteResult]


async def prove(asked: Asked, version: str, sample: int | None, output: Format) -> int:
    """Verify and say what was found. Return 1 on anything that is not as it should be."""
    if sample is not None and sample < 0:
        raise ConfigError(f"--sample is {sample}; write how many minutes, 0 for none")
    start_ns, end_ns = asked.span()
    version = version or version_of(load(asked.env), asked.feed)
    await _tell_pruned(asked.opener(), version, asked.feed)
    minutes: list[MinuteResult] = []
    with progress(f"verify {asked.feed} {version}") as bar:

        def on_minute(result: MinuteResult, total: int) -> None:
            if not minutes:
                bar.planned(Plan(total, 0, total, 1))
            minutes.append(result)
            bar.advanced(1, 1, result.frames)

        spec = VerifySpec(asked.feed, version, start_ns, end_ns, sample)
        report = await verify(asked.opener()(), spec, on_minute)
    if output == "table":
        _print(report)
    else:
        show_record(Verified(report.ok and report.minutes > 0, report, minutes), output)
    return 0 if report.ok and report.minutes else 1  # nothing seen is nothing proved


async def _tell_pruned(open_store: OpenStore, version: str, feed: str) -> None:
    """Say in front of what will be found that nothing of the version is there at all."""
    held = await versions_of(open_store(), feed)
    if version not in held:
        others = f"; --version {held[-1]} has something" if held else ""
        say(f"! there is nothing of {feed} in version {version}: it was pruned, or nothing is archived yet{others}")


def _print(report: Report) -> None:
    word = (
        "✓ verified"
        if report.ok and report.minutes
        else "✗ nothing to verify"
        if report.ok
        else f"✗ {report.finding_count} findings in {report.minutes_wrong} minutes"
    )
    sys.stdout.write(
        f"{word}  {report.feed} {report.version}  {rfc3339(report.start)} to {rfc3339(report.end)}\n"
        f"raw       {report.minutes} minutes, {report.objects} objects, {report.frames} frames, {report.notes} notes, "
        f"{len(report.writers)} chain{'' if len(report.writers) == 1 else 's'} of manifests\n"
        f"archive   {report.minutes_compared} minutes normalized again, {report.events_compared} events compared\n"
        f"ledger    {f'{report.ledger_records} records compared' if report.ledger else 'this version has none'}\n"
    )
    sys.stdout.flush()
    if not report.minutes:
        say("! there is no raw data of that time, so nothing was proved")
    for conn in report.unprovable:
        say(f"! connection {conn} began before the raw data that is kept: what it gave cannot be proved any more")
    for finding in report.findings[:SHOWN]:
        say(f"✗ {_line(finding)}")
    if report.finding_count > SHOWN:
        say(f"and {report.finding_count - SHOWN} more; -o json lists them")


def _line(finding: Finding) -> str:
    when = "" if finding.minute is None else f"{rfc3339(finding.minute)}  "
    return f"{when}{finding.check}  {finding.object}: {finding.detail}"
