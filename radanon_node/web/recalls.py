"""Recalls on the pages: what is suspect after a find, ordering the recall, lists for the archives' managers, closing it."""

from __future__ import annotations

from datetime import date
from io import StringIO

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from radanon_node.errors import ConfigError
from radanon_node.ledger.recalls import Suspicion, UnknownRecall
from radanon_node.recalling import day_bounds, named, suspicion_of, write_csv
from radanon_node.web.site import Handlers, threaded

_SHOWN = 200
_SAME = ("device", "policy", "route")


class RecallPages(Handlers):
    """The request handlers."""

    def routes(self) -> list[Route]:
        guard = self._site.guard
        return [
            Route("/recalls", guard("reviewer", self.show)),
            Route("/recalls", guard("admin", self.order), methods=["POST"]),
            Route("/recalls/{number:int}.csv", guard("reviewer", self.csv)),
            Route("/recalls/{number:int}/close", guard("admin", self.close), methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Recalls so far, and what one would name: the query's ``found``, ``same``, ``from`` and ``to``."""
        asked = request.query_params
        suspects, without, problem = [], 0, ""
        same = [name for name in asked.getlist("same") if name in _SAME]
        if asked.get("found"):
            try:
                suspicion = await threaded(self._suspicion, asked["found"], same, asked.get("from", ""), asked.get("to", ""))
                suspects = await threaded(self._site.ledger.suspects, suspicion)
                without = await threaded(self._site.ledger.without_device, suspicion.since, suspicion.until) if suspicion.device else 0
            except ConfigError as error:
                problem = str(error)
        entries = await threaded(self._site.ledger.recalls_list)
        return self._site.page(request, "recalls.html", entries=entries, asked=asked, same=same, suspects=suspects[:_SHOWN],
                               count=len(suspects), without=without, problem=problem)

    async def order(self, request: Request) -> Response:
        form = await self._site.form(request)
        same = [str(name) for name in form.getlist("same") if name in _SAME]
        found, first, last = (str(form.get(name, "")) for name in ("found", "from", "to"))
        try:
            suspicion = await threaded(self._suspicion, found, same, first, last)
            await threaded(self._site.ledger.recall, suspicion, self._site.who(request), str(form.get("reason", "")))
        except (ConfigError, ValueError) as error:
            raise HTTPException(409, f"This cannot be done: {error}") from None
        return RedirectResponse("/recalls", 303)

    async def csv(self, request: Request) -> Response:
        """What the archives have to delete, a line per instance and destination."""
        try:
            entries = await threaded(self._site.ledger.recalled_list, request.path_params["number"])
        except UnknownRecall:
            raise HTTPException(404, "There is no such recall.") from None
        text = StringIO()
        write_csv(named(entries), text)
        return Response(text.getvalue(), media_type="text/csv", headers={
            "Content-Disposition": f'attachment; filename="recall-{request.path_params["number"]}.csv"'})

    async def close(self, request: Request) -> Response:
        form = await self._site.form(request)
        try:
            await threaded(self._site.ledger.recall_close, request.path_params["number"], self._site.who(request),
                           str(form.get("reason", "")))
        except UnknownRecall:
            raise HTTPException(404, "There is no open recall with this number.") from None
        except ValueError as error:
            raise HTTPException(409, f"This cannot be done: {error}") from None
        return RedirectResponse("/recalls", 303)

    def _suspicion(self, found: str, same: list[str], first: str, last: str) -> Suspicion:
        try:
            since, until = day_bounds(date.fromisoformat(first) if first else None, date.fromisoformat(last) if last else None)
        except ValueError:
            raise ConfigError("days must be written as YYYY-MM-DD") from None
        return suspicion_of(self._site.ledger, found.split(), same, Suspicion(since=since, until=until))
