"""/api/v1/audit: usage, peak users, display and not; JSON and CSV. The administrator's key only."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from quart import Blueprint, Response, request

from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.reports import Reports
from ssmd.gateway.routes.admin import answer, refuse_others
from ssmd.gateway.routes.bodies import ClientId, FeedName

FORMATS: Final = {"application/json": "json", "text/csv": "csv"}
_USAGE: Final = ("client_id", "feed", "symbol", "data_type", "display_type", "message_count")
_SPLIT: Final = ("feed", "side", "message_count", "clients")


def audit_routes(reports: Reports) -> Blueprint:
    """Return the routes. They expect g.principal, and raise Problem and DatabaseDown."""
    blueprint = Blueprint("audit", __name__, url_prefix="/api/v1/audit")
    blueprint.before_request(refuse_others)
    routes = _Routes(reports)
    blueprint.add_url_rule("/usage", view_func=routes.usage)
    blueprint.add_url_rule("/peak-users", view_func=routes.peak_users)
    blueprint.add_url_rule("/display-vs-nondisplay", view_func=routes.display_vs_nondisplay)
    return blueprint


class _Routes:
    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def usage(self) -> Response:
        given = _given("month", "feed", "client")
        format_ = _format()
        feed, client = _token(given, "feed", FeedName), _token(given, "client", ClientId)
        report = await self._reports.usage(given.get("month", self._reports.this_month()), feed, client)
        return _csv(_USAGE, report.rows) if format_ == "csv" else answer(report)

    async def peak_users(self) -> Response:
        given, format_ = _given("date"), _format()
        report = await self._reports.peak_users(given.get("date", self._reports.today()))
        if format_ == "json":
            return answer(report)
        columns = ("date", "peak", "at", *report.by_type)
        return _text(columns, [(report.date, report.peak, report.at or "", *report.by_type.values())])

    async def display_vs_nondisplay(self) -> Response:
        given, format_ = _given("month", "feed"), _format()
        month = given.get("month", self._reports.this_month())
        report = await self._reports.display_vs_nondisplay(month, _token(given, "feed", FeedName))
        return _csv(_SPLIT, report.rows) if format_ == "csv" else answer(report)


def _given(*known: str) -> Mapping[str, str]:
    """Return the parameters. Raises Problem for every one that is unknown or given twice."""
    names = (*known, "format")
    unknown = [ParameterError(name, "", f"known are {', '.join(names)}") for name in request.args if name not in names]
    twice = [ParameterError(name, "", "once") for name in names if len(request.args.getlist(name)) > 1]
    if unknown or twice:
        raise invalid(*unknown, *twice)
    return {name: request.args[name] for name in request.args}


def _token(given: Mapping[str, str], name: str, type_: object) -> str | None:
    if name not in given:
        return None
    try:
        return str(msgspec.convert(given[name], type_))
    except msgspec.ValidationError as error:
        raise invalid(ParameterError(name, given[name], str(error))) from error


def _format() -> str:
    """Return json or csv: as `format` says, else as Accept prefers."""
    named = request.args.get("format")
    if named is not None:
        if named not in FORMATS.values():
            raise invalid(ParameterError("format", named, "json or csv"))
        return named
    if not request.accept_mimetypes:
        return "json"
    best = request.accept_mimetypes.best_match(list(FORMATS))
    if best is None:
        raise Problem("not_acceptable", "reports are application/json or text/csv", "or say format=csv")
    return FORMATS[best]


def _csv(columns: Sequence[str], rows: Sequence[Struct]) -> Response:
    return _text(columns, [[getattr(row, name) for name in columns] for row in rows])


def _text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Response:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return Response(out.getvalue(), content_type="text/csv; charset=utf-8", headers={"Cache-Control": "no-store"})
