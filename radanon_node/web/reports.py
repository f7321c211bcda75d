"""The de-identification report of a period, asked for on a page."""

from __future__ import annotations

from datetime import UTC, date, datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from radanon_node.errors import ConfigError
from radanon_node.report import CONTENT_SECURITY_POLICY, report_html
from radanon_node.web.site import Handlers, threaded


class Reports(Handlers):
    """The request handlers."""

    def routes(self) -> list[Route]:
        return [Route("/report", self._site.guard("viewer", self.report))]

    async def report(self, request: Request) -> Response:
        """The form, or the report that it asks for."""
        asked = request.query_params
        if "from" not in asked:
            today = datetime.now(UTC).date()
            return self._site.page(request, "report.html", first=today.replace(day=1), last=today, routes=self._site.config.routes)
        try:
            first, last = date.fromisoformat(asked["from"]), date.fromisoformat(asked.get("to", ""))
            text = await threaded(report_html, self._site.config, self._site.ledger, first, last, asked.get("route") or None)
        except (ConfigError, ValueError):
            raise HTTPException(400, "A report is of whole days (YYYY-MM-DD), in their order, and of a route that there is.") from None
        return HTMLResponse(text, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})
