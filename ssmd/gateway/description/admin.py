"""The operations of administrators."""

from typing import Final, Literal

from ssmd.gateway.description.parts import JSON, Answer, Operation, Parameter, ref, text, whole
from ssmd.gateway.description.schemas import FEED

PREFIX: Final = "/api/v1/admin"
CLIENT_ID: Final = Parameter(
    "client_id", "of a client", text(pattern="^[A-Za-z0-9_-]{1,32}$"), place="path", example="demo"
)
FEED_NAME: Final = Parameter("feed", "of whose data nothing may be read any more", FEED, place="path", example="kraken")
SESSION_ID: Final = Parameter("session_id", "as /sessions lists it", place="path", example="s-0123456789ab")
DRY_RUN: Final = Parameter("dry_run", "only tell what would change", text(enum=["true", "false"]))
LIMIT: Final = Parameter("limit", "the newest so many", whole(minimum=1, maximum=1000))

Method = Literal["get", "post", "put", "delete"]


def _operation(method: Method, path: str, name: str, summary: str, answer: Answer, *more: Parameter, body: str = "") -> Operation:  # fmt: skip  # noqa: PLR0913
    return Operation(
        method,
        f"{PREFIX}{path}",
        name,
        "admin",
        summary,
        (answer,),
        more,
        ("not_entitled", "not_found", "conflict") if "{" in path or body else ("not_entitled",),
        ref(body) if body else None,
    )


def _found(schema: str, status: int = 200) -> Answer:
    return Answer("Done." if status == 201 else "Found.", {JSON: ref(schema)}, status=status)


ADMIN: Final = (
    _operation("get", "/clients", "list_clients", "Every client, with what it may read", _found("Clients")),
    _operation("post", "/clients", "add_client", "Add a client; its key is shown this once", _found("NewKeyView", 201), body="NewClientBody"),
    _operation("get", "/clients/{client_id}", "show_client", "A client, its keys, and what was revoked", _found("KnownView"), CLIENT_ID),
    _operation("delete", "/clients/{client_id}", "remove_client", "Remove a client; its sessions end", _found("Removed"), CLIENT_ID),
    _operation("post", "/clients/{client_id}/keys", "rotate_key", "A new key; the one before counts for its grace", _found("NewKeyView", 201), CLIENT_ID, body="RotateBody"),
    _operation("post", "/clients/{client_id}/entitlements", "entitle", "Let a client read something more", _found("OneClient"), CLIENT_ID, body="GrantBody"),
    _operation("delete", "/clients/{client_id}/entitlements/{feed}", "revoke", "Let a client read nothing more of a feed", _found("OneClient"), CLIENT_ID, FEED_NAME),
    _operation("get", "/sessions", "list_sessions", "Every live session", _found("Sessions")),
    _operation("delete", "/sessions/{session_id}", "kick", "End a session", _found("Kicked"), SESSION_ID),
    _operation("get", "/entitlements", "list_entitlements", "The same as /clients", _found("Clients")),
    _operation("put", "/entitlements", "reconcile", "Bring everything to what an environment's file says", _found("Reconciled"), DRY_RUN, body="EnvironmentBody"),
    _operation("get", "/changes", "list_changes", "What administrators did, newest first", _found("Record"), LIMIT),
)  # fmt: skip
