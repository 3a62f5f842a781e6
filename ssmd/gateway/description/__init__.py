"""What the gateway offers, for programs: OpenAPI 3.1, AsyncAPI 3, and a short text for agents.

Structs of the code are taken as they are, the rest is written by hand; a test holds it against the routes.
"""

from ssmd.gateway.description.admin import ADMIN
from ssmd.gateway.description.agents import llms_text
from ssmd.gateway.description.audit import AUDIT
from ssmd.gateway.description.document import document
from ssmd.gateway.description.history import HISTORY
from ssmd.gateway.description.live import asyncapi
from ssmd.gateway.description.parts import Json
from ssmd.gateway.description.service import SERVICE

__all__ = ["OPERATIONS", "asyncapi", "llms_text", "openapi"]

OPERATIONS = (*HISTORY, *AUDIT, *ADMIN, *SERVICE)


def openapi() -> dict[str, Json]:
    return document(OPERATIONS)
