"""Bring a change of an environment's feeds to what runs: never over somebody else's change."""

import time
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ssmd.cli.output import say
from ssmd.environment.diff import some, undone
from ssmd.environment.spec import Environment
from ssmd.errors import BusDown, Conflict
from ssmd.records import FeedConfig
from ssmd.trees import LiveCopy, LiveLink, Waited

LEAVE_WITHIN_S = 10.0


class FeedChange(Struct, frozen=True):
    """A feed's configuration before and after a change of the file; None: there is no such feed."""

    feed: str
    before: FeedConfig | None
    after: FeedConfig | None

    def symbols(self) -> Collection[str]:
        """Return the symbols that are captured in another way, or newly."""
        if self.after is None or not self.after.enabled:
            return ()
        was_enabled = self.before is not None and self.before.enabled
        known = set(self.before.symbols) if self.before is not None and was_enabled else set()
        return [spec.symbol for spec in self.after.symbols if spec not in known]


class Put(Struct, frozen=True):
    """A live copy that was put, with the revision that the bus gave it."""

    change: FeedChange
    revision: int


def feed_changes(before: Environment | None, after: Environment | None) -> list[FeedChange]:
    """Return every feed of either side."""
    old = before.spec.feeds if before is not None else {}
    new = after.spec.feeds if after is not None else {}
    return [
        FeedChange(feed, old[feed].config() if feed in old else None, new[feed].config() if feed in new else None)
        for feed in {**old, **new}
    ]


async def plan(
    link: LiveLink, environment: str, changes: Sequence[FeedChange], *, overwrite: bool = False
) -> dict[str, LiveCopy]:
    """Return the live copies that must be replaced. Raises Conflict when that would undo somebody else's change."""
    copies = await link.copies(environment)
    wanted = {}
    for change in changes:
        live = copies.get(change.feed, LiveCopy(0, None))
        if live.config == change.after and not live.problem:
            continue
        theirs = undone(change.before, change.after, live.config) if live.config is not None else []
        if theirs and not overwrite:
            raise Conflict(
                f"somebody else has changed feed {change.feed} live (revision {live.revision}): {some(theirs)}; "
                f"nothing was changed; take it over into the file (git pull, or `ssmd symbol map`), "
                f"or `ssmd env apply {environment} --overwrite` puts the file live as it is; "
                f"a change that you made in the file by hand goes live by `ssmd env apply {environment}`"
            )
        wanted[change.feed] = live
    return wanted


async def put_live(
    link: LiveLink, environment: str, changes: Sequence[FeedChange], planned: Mapping[str, LiveCopy]
) -> list[Put]:
    """Replace what was planned, each copy only on top of the revision that the plan has seen. Raises Conflict."""
    done = []
    for change in changes:
        copy = planned.get(change.feed)
        if copy is None:
            continue
        if change.after is None:
            await _take_away(link, environment, change, copy)
        else:
            done.append(Put(change, await link.put(environment, change.feed, change.after, copy.revision)))
    return done


async def _take_away(link: LiveLink, environment: str, change: FeedChange, copy: LiveCopy) -> None:
    """End the capture of a feed that is no longer defined, then its live copy: a connector keeps what it read last."""
    revision = copy.revision
    if copy.config is not None:
        revision = await link.put(environment, change.feed, replace(copy.config, enabled=False), copy.revision)
        if any(report.feed == change.feed for report in await link.reports(environment)):
            answers = await link.wait(environment, change.feed, revision, (), LEAVE_WITHIN_S)
            if late := [answer for answer in answers if answer.state != "running"]:
                who = ", ".join(answer.report.instance for answer in late)
                say(f"! feed {change.feed} is disabled live, but not yet on {who}; apply again when it is")
                return
    await link.remove(environment, change.feed, revision)


async def standing(link: LiveLink, environment: str, wanted: Environment) -> list[Put]:
    """Return the live copies as they are, every symbol of them to be waited for: nothing had to be changed."""
    copies = await link.copies(environment)
    return [Put(each, copies[each.feed].revision) for each in feed_changes(None, wanted) if each.feed in copies]


async def wait_for(link: LiveLink, environment: str, puts: Sequence[Put], within_s: float) -> int:
    """Wait until every connector runs what was put, say how each stands, and return the exit code."""
    if not puts:
        say(f"✗ {environment} has no live copy to wait for")
    code = 0 if puts else 1
    for put in puts:
        feed, started_s = put.change.feed, time.monotonic()
        answers = await _wait(link, environment, put, within_s)
        took_s = time.monotonic() - started_s
        if not answers:
            say(f"✗ no connector of feed {feed} reports; the live copy waits for one at revision {put.revision}")
        for answer in answers:
            say(_answer_line(answer, put, took_s))
        is_well = bool(answers) and all(answer.state == "running" and not answer.detail for answer in answers)
        code = code if is_well else 1
    return code


async def _wait(link: LiveLink, environment: str, put: Put, within_s: float) -> Sequence[Waited]:
    """Wait, and if that is cut short say that the change itself is made."""
    made = f"the change is made (revision {put.revision}); `ssmd env status {environment}` shows who runs it"
    try:
        return await link.wait(environment, put.change.feed, put.revision, put.change.symbols(), within_s)
    except BusDown as error:
        raise BusDown(f"{error}; {made}") from error
    except KeyboardInterrupt:
        say(f"! no longer waiting: {made}")
        raise


def _answer_line(answer: Waited, put: Put, took_s: float) -> str:
    who = f"connector {put.change.feed}@{answer.report.instance}"
    if answer.state != "running":
        return f"✗ {who} is {answer.state}: {answer.detail}"
    runs = f"{who} runs revision {put.revision} after {took_s:.2f} s"
    return f"✗ {runs}, but {answer.detail}" if answer.detail else f"✓ {runs}"
