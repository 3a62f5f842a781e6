"""What `ssmd env status` does: follow an environment from its file to what runs, and name every drift."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from ssmd import settings
from ssmd.cli import git
from ssmd.cli.client_status import client_rows
from ssmd.cli.options import Format, Reach, Where
from ssmd.cli.output import show_rows
from ssmd.cli.overlay import overlay, stale_words
from ssmd.cli.running import Bus, NoBus, find_bus
from ssmd.cli.status_rows import State, StatusRow
from ssmd.clock import now_ns
from ssmd.environment.diff import config_differences, some
from ssmd.environment.load import Inspection, find, inspect, read
from ssmd.environment.spec import Environment
from ssmd.errors import BusDown, ConfigError
from ssmd.records import FeedConfig
from ssmd.settings import DeploySettings
from ssmd.trees import ConnectorReport, LiveCopy, digest_of, live_link
from ssmd.trees.catalog import catalog


class Live(Struct, frozen=True):
    """What the bus tells of an environment."""

    copies: Mapping[str, LiveCopy]
    reports: Sequence[ConnectorReport]


async def show_status(env: str, output: Format, where: Where, reach: Reach) -> int:
    path = find(env)
    values = settings.load(where.config)
    seen = inspect(path, read(path), catalog(values))
    rows = list(_defined(seen, values.deploy))
    is_reachable = True
    if seen.environment is not None:
        bus = find_bus(values, where.data_dir, seen.environment.name)
        try:
            rows += await _live(seen.environment, bus)
        except BusDown as error:
            is_reachable = False
            rows.append(StatusRow("unknown", "live", f"NATS cannot be reached: {error}", "ssmd doctor"))
        rows += await client_rows(seen.environment, values, where, reach)
    show_rows(rows, output)
    if not is_reachable:
        return 5
    return 1 if any(row.state == "drift" for row in rows) else 0


async def _live(environment: Environment, bus: Bus | NoBus) -> Sequence[StatusRow]:
    if isinstance(bus, NoBus):
        return [StatusRow("unknown", "live", bus.reason, "ssmd up, or SSMD_NATS_URL=nats://…")]
    async with live_link(bus.url) as link:
        live = Live(await link.copies(environment.name), await link.reports(environment.name))
    return list(_live_rows(environment, live))


# files -------------------------------------------------------------------------------------------------------


def _defined(seen: Inspection, deploy: DeploySettings) -> Iterator[StatusRow]:
    if seen.environment is None:
        count = len(seen.problems)
        detail = f"{seen.path} has {count} error{'' if count == 1 else 's'}: {seen.problems[0].message}"
        yield StatusRow("drift", "defined", detail, f"ssmd env validate {seen.path}")
        return
    yield StatusRow("ok", "defined", f"{seen.path} is valid")
    apply = f"ssmd env apply {seen.name}"
    rendered = overlay(seen.path, seen.environment, deploy)
    if not rendered.folder.exists():
        yield StatusRow("drift", "rendered", f"{rendered.folder} is not there", apply)
    elif rendered.stale:
        yield StatusRow("drift", "rendered", f"{rendered.folder}: {stale_words(rendered.stale)}", apply)
    else:
        yield StatusRow("ok", "rendered", f"{rendered.folder} is up to date")
    yield from _committed([seen.path, rendered.folder], apply)


def _committed(paths: Sequence[Path], apply: str) -> Iterator[StatusRow]:
    try:
        if git.repository(paths[0]) is None:
            yield StatusRow("unknown", "committed", f"{paths[0]} lies in no git repository")
            return
        changed = git.uncommitted(paths)
    except ConfigError as error:  # no git, or one that does not want to
        yield StatusRow("unknown", "committed", str(error))
        return
    if changed:
        yield StatusRow(
            "drift", "committed", f"{', '.join(changed[:3])}{' and more' * (len(changed) > 3)} not committed", apply
        )
        return
    ahead = git.unpushed(paths[0])
    pushed = {None: "the branch follows no remote", 0: "pushed"}.get(
        ahead, f"{ahead} commit{'' if ahead == 1 else 's'} not pushed"
    )
    yield StatusRow("ok", "committed", f"nothing to commit; {pushed}")


# live --------------------------------------------------------------------------------------------------------


def _live_rows(environment: Environment, live: Live) -> Iterator[StatusRow]:
    feeds = environment.spec.feeds
    for feed, entry in feeds.items():
        config = entry.config()
        yield _copy_row(environment.name, feed, config, live.copies.get(feed, LiveCopy(0, None)))
        reports = [report for report in live.reports if report.feed == feed]
        if not reports:
            state: State = "drift" if entry.enabled and entry.symbols else "ok"
            yield StatusRow(
                state, f"connector {feed}", "none reports", "ssmd up, or look at its pod; after a restart of NATS, 5 s"
            )
        for report in reports:
            yield _connector_row(environment.name, report, live.copies.get(feed, LiveCopy(0, None)))
    yield from _foreign_rows(environment, live)


def _foreign_rows(environment: Environment, live: Live) -> Iterator[StatusRow]:
    """Give what is live or runs of feeds that the file does not define."""
    known = environment.spec.feeds
    for feed, copy in live.copies.items():
        if feed not in known:
            detail = f"revision {copy.revision} of a feed that the file does not define"
            yield StatusRow("drift", f"live {feed}", detail, f"ssmd env apply {environment.name} --overwrite")
    for report in live.reports:
        if report.feed not in known:
            detail = f"runs a feed that the file does not define: {_counts(report)}"
            yield StatusRow("drift", _connector(report), detail, "end its process, or take the feed into the file")


def _connector(report: ConnectorReport) -> str:
    return f"connector {report.feed}@{report.instance}"


def _counts(report: ConnectorReport) -> str:
    return f"{len(report.live)} live, {len(report.pending)} pending, {len(report.refused)} refused"


def _copy_row(environment: str, feed: str, wanted: FeedConfig, copy: LiveCopy) -> StatusRow:
    apply = f"ssmd env apply {environment}"
    if copy.problem:
        return StatusRow("drift", f"live {feed}", f"revision {copy.revision} is refused: {copy.problem}", apply)
    if copy.config is None:
        return StatusRow("drift", f"live {feed}", "there is no live copy", apply)
    different = config_differences(wanted, copy.config)
    if different:
        detail = f"revision {copy.revision}: {some(different)}"
        return StatusRow("drift", f"live {feed}", detail, f"{apply}; --overwrite if others changed it")
    return StatusRow("ok", f"live {feed}", f"revision {copy.revision} is as defined")


def _connector_row(environment: str, report: ConnectorReport, copy: LiveCopy) -> StatusRow:
    part, counts = _connector(report), _counts(report)
    if report.is_silent(now_ns()):
        age_s = (now_ns() - report.reported_ns) / 1e9
        return StatusRow("drift", part, f"silent for {age_s:.0f} s, last at revision {report.revision}", "is it alive?")
    refused = report.refused_config
    if refused is not None:
        detail = f"refused revision {refused.revision} ({refused.reason}); runs revision {report.revision}: {counts}"
        return StatusRow(
            "drift", part, detail, "ssmd env apply puts a good value; shards and normalizer need a restart"
        )
    is_same = copy.config is not None and report.digest == digest_of(copy.config)
    if report.revision != copy.revision or not is_same:  # a bucket that was made again counts from 1
        what = f"runs revision {report.revision}, live is {copy.revision}" + ("" if is_same else " and says otherwise")
        fix = "wait a moment" if copy.revision else f"ssmd env apply {environment}"
        return StatusRow("drift", part, f"{what}: {counts}", fix)
    if report.refused:
        words = "; ".join(f"{each.symbol}: {each.reason}" for each in report.refused[:3])
        return StatusRow("drift", part, f"the exchange refuses {words}; {counts}", "ssmd symbol validate --online")
    if report.pending and report.enabled:
        return StatusRow(
            "drift",
            part,
            f"runs revision {report.revision}; waits for {' '.join(report.pending[:5])}; {counts}",
            "wait a moment; is the exchange reachable? ssmd doctor",
        )
    return StatusRow("ok", part, f"runs revision {report.revision}: {counts}")
