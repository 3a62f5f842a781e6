"""The operations that account for what was delivered."""

from typing import Final

from ssmd.gateway.description.parts import CSV, JSON, Answer, Operation, Parameter, ref, text
from ssmd.gateway.description.schemas import FEED

MONTH: Final = Parameter("month", "UTC; without it this month", text(pattern="^[0-9]{4}-[0-9]{2}$"), example="2025-12")
DATE: Final = Parameter("date", "UTC; without it today", text(format="date"), example="2025-12-06")
OF_FEED: Final = Parameter("feed", "only this feed", FEED)
OF_CLIENT: Final = Parameter("client", "only this client", text(pattern="^[A-Za-z0-9_-]{1,32}$"))
AS_CSV: Final = Parameter("format", "instead of the Accept header", text(enum=["json", "csv"]))


def _report(name: str, schema: str, summary: str, *parameters: Parameter) -> Operation:
    answer = Answer("The report, exact to the message.", {JSON: ref(schema), CSV: text()})
    errors = ("not_entitled", "not_acceptable")
    path = f"/api/v1/audit/{name}"
    return Operation("get", path, name, "audit", summary, (answer,), (*parameters, AS_CSV), errors)


AUDIT: Final = (
    _report("usage", "Usage", "Messages by client, series and kind of use", MONTH, OF_FEED, OF_CLIENT),
    _report("peak-users", "PeakUsers", "The most clients at one moment of a day", DATE),
    _report("display-vs-nondisplay", "Split", "Messages and clients of each kind of use", MONTH, OF_FEED),
)
