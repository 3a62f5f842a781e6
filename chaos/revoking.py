"""Take rights from clients with live sockets: how long it takes until each socket is told, and gets nothing more."""

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import trio
from msgspec import Struct

from chaos.hot import marks
from chaos.kills import LATE_S
from chaos.office import Office, office, subscribed
from chaos.rig import NAMES, Rig, running
from chaos.rows import Row, Stopwatch
from chaos.subscribers import Entry, Plan
from chaos.targets import Revoking
from ssmd.clock import NS_PER_S
from ssmd.gateway.live.line import BAD_KEY, REVOKED

SYMBOLS = tuple(name.replace("/", "") for name in NAMES)
KEPT, TAKEN = SYMBOLS[:1], SYMBOLS[1:]
EXPIRES_IN_S = 15.0
"""Long enough for every socket to be there before."""
GOES_ON_S = 1.0
"""How long who keeps something is watched afterwards."""

Answers = dict[str, int]
"""By session: when whoever took something had the answer that it is done."""


class Scene:
    """One client, and its sockets."""

    def __init__(self, rig: Rig, desk: Office, client_id: str) -> None:
        self.rig = rig
        self.desk = desk
        self.client_id = client_id
        self.expires_ns = int(time.time() + EXPIRES_IN_S) * NS_PER_S

    async def command(self, *words: str) -> None:
        """Run an ssmd command as an operator does."""
        argv = (sys.executable, "-m", "ssmd", "client", *words, "--data-dir", str(self.rig.data_dir))
        done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
        assert done.returncode == 0, (words, done.stderr.decode())

    async def sessions(self) -> list[str]:
        sessions = (await self.desk.ask("GET", "/admin/sessions"))["sessions"]
        return [session["session_id"] for session in sessions if session["client_id"] == self.client_id]

    async def put_file(self, *symbols: str) -> None:
        """Bring the gateway to a file in which this client has these symbols."""
        grant = {"feed": "kraken", "symbols": symbols}
        client = {"client_id": self.client_id, "type": "display", "max_devices": 1_000, "grants": [grant]}
        await self.desk.ask("PUT", "/admin/entitlements", {"environment": "chaos", "clients": [client]})


async def by_revoke(scene: Scene) -> Answers:
    sessions = await scene.sessions()
    environment = str(scene.rig.environment)
    await scene.command("revoke", scene.client_id, "--feed", "kraken", "--yes", "--no-file", "--env", environment)
    return dict.fromkeys(sessions, time.time_ns())


async def by_kick(scene: Scene) -> Answers:
    """End each session by itself."""
    answers = {}
    for session in await scene.sessions():
        await scene.desk.ask("DELETE", f"/admin/sessions/{session}")
        answers[session] = time.time_ns()
    return answers


async def by_rotation(scene: Scene) -> Answers:
    sessions = await scene.sessions()
    await scene.command("rotate", scene.client_id, "--grace", "0s", "--key-file", str(scene.rig.folder / "new.key"))
    return dict.fromkeys(sessions, time.time_ns())


async def by_expiry(scene: Scene) -> Answers:
    sessions = await scene.sessions()
    await trio.sleep((scene.expires_ns - time.time_ns()) / NS_PER_S)
    return dict.fromkeys(sessions, scene.expires_ns)


async def by_narrowing(scene: Scene) -> Answers:
    sessions = await scene.sessions()
    await scene.put_file(*KEPT)
    return dict.fromkeys(sessions, time.time_ns())


class Way(Struct, frozen=True):
    """How something is taken. told: the diary's entry by which a client learns of it; code: of its close, 0: it goes on."""

    take: Callable[[Scene], Awaitable[Answers]]
    told: str = "closed"
    code: int = REVOKED


WAYS = {
    "revoke": Way(by_revoke),
    "kick": Way(by_kick),
    "rotation": Way(by_rotation, code=BAD_KEY),
    "expiry": Way(by_expiry),
    "narrowing": Way(by_narrowing, "revoked", 0),
}


async def take_from_live(row: Row, folder: Path, target: Revoking) -> None:
    """Take something from many live sockets in every way, and measure from the answer until each has been told."""
    watch = Stopwatch()
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig, office(rig) as desk:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        for name in target.ways:
            await _take(row, Scene(rig, desk, name), WAYS[name], target)
        row.at_most("exit_code", await rig.stop(), 0)
    row.duration_s = watch.elapsed_s


async def _take(row: Row, scene: Scene, way: Way, target: Revoking) -> None:
    async with subscribed(scene.desk, scene.client_id, await _plans(scene, target.sockets)) as clients:
        await clients.until_each(
            lambda diary: bool(_taken(diary, way)), LATE_S, f"{scene.client_id} hears what it will lose"
        )
        answers = await way.take(scene)
        if len(answers) != target.sockets:
            row.missed.append(f"{scene.client_id}: {len(answers)} sessions are live, not {target.sockets}")
        await clients.until_each(lambda diary: _told(diary, way) is not None, LATE_S, f"{scene.client_id} is told")
        if not way.code:
            await trio.sleep(GOES_ON_S)
        await clients.leave()
        heard = [_heard(clients.diary(plan), way, answers) for plan in clients.plans]
        _judge(row, scene.client_id, way, heard, target)


async def _plans(scene: Scene, sockets: int) -> list[Plan]:
    """Make a client that may read everything, and plans of so many sockets of it."""
    body = {"client_id": scene.client_id, "type": "display", "limits": {"devices": 1_000}, "is_in_file": True}
    key = (await scene.desk.ask("POST", "/admin/clients", body))["key"]
    expires_at = datetime.fromtimestamp(scene.expires_ns / NS_PER_S, UTC).isoformat()
    grant = {"expires_at": expires_at} if scene.client_id == "expiry" else {}
    await scene.desk.entitle(scene.client_id, *SYMBOLS, **grant)
    name = scene.client_id
    return [Plan(f"{name}-{n}", name, key, SYMBOLS, ("trade", "quote"), is_stubborn=False) for n in range(sockets)]


def _told(diary: Sequence[Entry], way: Way) -> Entry | None:
    return next((entry for entry in diary if entry.kind == way.told), None)


def _taken(diary: Sequence[Entry], way: Way) -> list[Entry]:
    """Return the messages of what is taken."""
    messages = (entry for entry in diary if entry.kind == "message")
    return [entry for entry in messages if way.code or entry.series.rsplit("/", 1)[1] in TAKEN]


class Heard(Struct, frozen=True):
    """What one socket heard. late_s, last_s: the notice, and the last message of what was taken, behind the answer.

    behind: messages of what was taken behind the notice. goes_on: something else came behind the notice.
    """

    late_s: float
    last_s: float
    code: int
    behind: int
    goes_on: bool


def _heard(diary: Sequence[Entry], way: Way, answers: Answers) -> Heard:
    told = _told(diary, way)
    assert told is not None
    answered_ns = answers[next(entry.id for entry in diary if entry.kind == "opened")]
    messages = [entry for entry in diary if entry.kind == "message"]
    taken = _taken(diary, way)
    behind = sum(entry.at_ns > told.at_ns for entry in taken)
    goes_on = any(entry.at_ns > told.at_ns for entry in messages)
    last_ns = max(entry.at_ns for entry in taken)
    return Heard((told.at_ns - answered_ns) / NS_PER_S, (last_ns - answered_ns) / NS_PER_S, told.code, behind, goes_on)


def _judge(row: Row, name: str, way: Way, heard: Sequence[Heard], target: Revoking) -> None:
    """Each socket was told, in time and with the right code; nothing that was taken came behind that."""
    row.note(**{f"{name}_s": marks([one.late_s for one in heard])})
    row.note(**{f"{name}_last_message_s": max(one.last_s for one in heard)})
    row.at_most(f"{name}_s_max", max(one.late_s for one in heard), target.told_within_s)
    row.at_most(f"{name}_behind_the_notice", sum(one.behind for one in heard), 0)
    if codes := {one.code for one in heard} - {way.code}:
        row.missed.append(f"{name}: closed with {codes}, not {way.code}")
    if not way.code and not all(one.goes_on for one in heard):
        row.missed.append(f"{name}: a socket gets nothing of what it may still read")
