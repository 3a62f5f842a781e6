"""The AsyncAPI document: every message of /subscribe, both ways, as the structs are that it is made of."""

from collections.abc import Iterable, Mapping
from typing import Final, get_args

from msgspec import Struct

from ssmd import __version__
from ssmd.gateway.description.parts import Json
from ssmd.gateway.description.schemas import SCHEMAS, of_structs
from ssmd.gateway.live.commands import Command
from ssmd.gateway.live.notices import Notice

COMMANDS: Final[tuple[type[Struct], ...]] = get_args(Command)
NOTICES: Final[tuple[type[Struct], ...]] = get_args(Notice)
EVENTS: Final = ("Trade", "Quote", "Book")

CLOSE_CODES: Final[Mapping[int, str]] = {
    1000: "the normal end",
    1011: "you did not answer a ping",
    1012: "the gateway restarts: come back at once, with from=pos:N or from=id:ID of the last message",
    1013: "overloaded: come back later",
    4400: "a message that cannot be understood",
    4401: "no key, or one that does not count",
    4403: "the entitlement was revoked",
    4408: "you read too slowly, and trades would have been lost",
    4410: "nothing was asked for in 10 s",
    4429: "too many devices or connections",
}


def asyncapi() -> dict[str, Json]:
    schemas = {**of_structs([*COMMANDS, *NOTICES]), **{name: SCHEMAS[name] for name in EVENTS}}
    said, heard = [each.__name__ for each in COMMANDS], [*(each.__name__ for each in NOTICES), *EVENTS]
    messages = {name: _message(name) for name in (*said, *heard)}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "ssmd gateway: /subscribe", "version": __version__, "description": _about()},
        "channels": {"subscribe": {"address": "/subscribe", "messages": messages}},
        "operations": {"say": _operation("receive", said), "hear": _operation("send", heard)},
        "components": {"schemas": schemas},
    }


def _message(name: str) -> Json:
    return {"payload": {"$ref": f"#/components/schemas/{name}"}}


def _operation(action: str, names: Iterable[str]) -> Json:
    """action: as the gateway sees it."""
    messages = [{"$ref": f"#/channels/subscribe/messages/{name}"} for name in names]
    return {"action": action, "channel": {"$ref": "#/channels/subscribe"}, "messages": messages}


def _about() -> str:
    codes = "; ".join(f"{code} {meaning}" for code, meaning in CLOSE_CODES.items())
    return (
        "Each event also has `pos`, its place in the stream. Ignore types and members that you do not know. "
        "`from` of subscribe: now, pos:N or id:ID (behind that message: all of what is asked for, and nothing twice), a time, "
        "or -5m. What is not kept any more, or is no message of what is asked for, is answered with `resume_expired`. "
        f"Close codes: {codes}."
    )
