"""What a client may send over the WebSocket: one JSON object per message, told apart by `op`."""

import re
from math import ceil
from typing import Final

import msgspec
from msgspec import Struct, field

from ssmd.gateway.limits import Bucket, Rate
from ssmd.gateway.live.notices import CommandId
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.model import EventType

MAX_SYMBOLS: Final = 1_000
"""In one command; each costs an answer."""
SYMBOLS_PER_TOKEN: Final = 100
_KEY: Final = re.compile(r"ssmd_\S+")


class Auth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="auth"):
    key: str
    id: CommandId = None


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Which series a command is about. types: none named means all that this key may read; feed: empty is any."""

    symbols: tuple[str, ...]
    types: tuple[EventType, ...] = ()
    feed: str = ""
    id: CommandId = None


class Subscribe(Wanted, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="subscribe"):
    start: str = field(default="now", name="from")
    snapshot: bool = False


class Unsubscribe(Wanted, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="unsubscribe"):
    pass


class Replay(Wanted, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="replay", kw_only=True):
    """From the archive. speed: a multiple such as 10x, or max."""

    start: str
    end: str = "now"
    speed: str = "1x"


class Stop(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="stop"):
    """End the replay."""

    id: CommandId = None


class List(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="list"):
    id: CommandId = None


class Ping(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ping"):
    id: CommandId = None


Command = Auth | Subscribe | Unsubscribe | Replay | Stop | List | Ping

OPS: Final = ("auth", "subscribe", "unsubscribe", "list", "ping", "replay", "stop")


class _Envelope(Struct, frozen=True):
    op: str
    id: CommandId = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_COMMAND: Final = msgspec.json.Decoder(Command)


class NotACommand(Problem):
    """Not one JSON object with an `op`: whoever sends this speaks something else."""


class BadCommand(Problem):
    """A command that cannot be done as it stands; the connection goes on."""

    def __init__(self, problem: Problem, command_id: CommandId) -> None:
        super().__init__(problem.code, problem.detail, problem.hint)
        self.errors = problem.errors
        self.command_id = command_id


def parse_command(text: str) -> Command:
    """Return the command of one message. Raises NotACommand and BadCommand; neither repeats a key."""
    try:
        envelope = _ENVELOPE.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        hint = 'for example {"op":"subscribe","id":1,"symbols":["BTCUSD"]}'
        raise NotACommand("invalid_parameter", f"not a command: {_safe(error)}", hint) from None
    try:
        command: Command = _COMMAND.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadCommand(_why(envelope.op, error), envelope.id) from None
    if isinstance(command, Wanted) and not 0 < len(command.symbols) <= MAX_SYMBOLS:
        wrong = ParameterError("symbols", str(len(command.symbols)), f"1 to {MAX_SYMBOLS} symbols in one command")
        raise BadCommand(invalid(wrong), envelope.id)
    return command


def _why(op: str, error: Exception) -> Problem:
    if op not in OPS:
        return invalid(ParameterError("op", _masked(op[:40]), f"allowed are {', '.join(OPS)}"))
    return invalid(ParameterError("message", op, _safe(error)))


def _safe(error: Exception) -> str:
    return _masked(str(error).partition("\n")[0][:200])


def _masked(text: str) -> str:
    return _KEY.sub("ssmd_***", text)


class CommandBudget:
    """So many commands per second, twice as many at once. One with many symbols counts as several."""

    def __init__(self, per_s: float, at_s: float) -> None:
        self.per_s = per_s
        self._bucket = Bucket(Rate(per_s, ceil(2 * per_s)), at_s)

    def take(self, command: Command, at_s: float) -> float:
        """Return 0, and what the command costs is taken; or how many seconds are to pass first."""
        symbols = len(command.symbols) if isinstance(command, Wanted) else 0
        return self._bucket.take(at_s, min(self.per_s, 1 + symbols / SYMBOLS_PER_TOKEN))
