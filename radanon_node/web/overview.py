"""Flow, quarantine, deliveries, destinations, search, settings, log-in: the pages without pictures."""

from __future__ import annotations

import shutil
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from radanon_node.ledger.flow import HOUR, MINUTE, FlowPoint
from radanon_node.stages import read_stages
from radanon_node.status import full_status
from radanon_node.web.charts import chart, size_text
from radanon_node.web.masked import masked
from radanon_node.web.metrics import exposition
from radanon_node.web.site import COOKIE, Handlers, threaded

_ROWS = 200
_SPANS = {"2h": (MINUTE, 120), "24h": (MINUTE, 1440), "30d": (HOUR, 720)}


class Overview(Handlers):
    """The request handlers."""

    def routes(self) -> list[Route]:
        site = self._site
        routes = [
            Route("/", self.overview),
            Route("/fragments/flow", self.flow),
            Route("/status.json", self.status_json),
            Route("/quarantine", site.guard("viewer", self.quarantine)),
            Route("/deliveries", site.guard("viewer", self.deliveries)),
            Route("/deliveries/retry", site.guard("admin", self.retry), methods=["POST"]),
            Route("/destinations/{name}/pause", site.guard("admin", self.pause), methods=["POST"]),
            Route("/search", site.guard("viewer", self.search)),
            Route("/settings", site.guard("admin", self.settings)),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", site.guard("viewer", self.logout), methods=["POST"]),
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
        ]
        if site.config.metrics.enabled:
            routes.append(Route("/metrics", self.metrics))
        return routes

    async def overview(self, request: Request) -> Response:
        return self._site.page(request, "overview.html", **await self._flow(request))

    async def flow(self, request: Request) -> Response:
        return self._site.page(request, "flow.html", **await self._flow(request))

    async def _flow(self, request: Request) -> dict[str, Any]:
        site = self._site
        span = request.query_params.get("span", "2h")
        width, count = _SPANS.get(span, _SPANS["2h"])
        points = await threaded(site.ledger.flow_points, width, count)
        seen = site.session(request) is not None
        return {
            "status": await self._status(), "nodes": await threaded(site.ledger.nodes_list) if seen else [],
            "paused": await threaded(site.ledger.paused_destinations), "charts": _charts(points, width), "span": span,
            "spans": list(_SPANS), "size": size_text,
            "disk": shutil.disk_usage(site.config.node.data_dir).total if site.config.node.data_dir.exists() else 0,
        }  # fmt: skip

    async def status_json(self, request: Request) -> Response:
        return JSONResponse(await self._status())

    async def quarantine(self, request: Request) -> Response:
        asked = request.query_params
        after = int(asked["after"]) if asked.get("after", "").isdigit() else 0
        entries = await threaded(self._site.ledger.quarantine_list, route=asked.get("route") or None, reason=asked.get("reason") or None,
                                 limit=_ROWS, after=after)
        return self._site.page(request, "quarantine.html", entries=entries, more=len(entries) == _ROWS, asked=asked)

    async def deliveries(self, request: Request) -> Response:
        asked = request.query_params
        entries = await threaded(self._site.ledger.deliveries_list, destination=asked.get("destination") or None, limit=_ROWS)
        return self._site.page(request, "deliveries.html", entries=entries, destinations=self._site.config.destinations, asked=asked)

    async def retry(self, request: Request) -> Response:
        form = await self._site.form(request)
        name, reason = str(form.get("destination", "")), str(form.get("reason", "")).strip()
        if name not in self._site.config.destinations:
            raise HTTPException(404, "No such destination.")
        await threaded(self._site.ledger.deliveries_retry, self._site.who(request), reason or "from the pages", destination=name)
        return RedirectResponse("/deliveries", 303)

    async def pause(self, request: Request) -> Response:
        form = await self._site.form(request)
        name = request.path_params["name"]
        if name not in self._site.config.destinations:
            raise HTTPException(404, "No such destination.")
        reason = str(form.get("reason", "")).strip()
        if not reason:
            raise HTTPException(400, "A reason must be given.")
        await threaded(self._site.ledger.pause_destination, name, form.get("act") == "pause", self._site.who(request), reason)
        return RedirectResponse("/", 303)

    async def search(self, request: Request) -> Response:
        wanted = request.query_params.get("q", "").strip()[:128]
        found = await threaded(self._site.ledger.search, wanted) if wanted else []
        return self._site.page(request, "search.html", wanted=wanted, found=found)

    async def settings(self, request: Request) -> Response:
        return self._site.page(request, "settings.html", text=masked(self._site.config))

    async def login(self, request: Request) -> Response:
        site = self._site
        if request.method == "GET":
            return site.page(request, "login.html", failed=False, next=request.query_params.get("next", "/"))
        form = await request.form(max_files=0, max_fields=10)
        name, address = str(form.get("name", ""))[:64], site.address(request)
        target = str(form.get("next", "/"))
        session = await threaded(site.sessions.log_in, name, str(form.get("password", ""))[:1024], address)
        if session is None:
            # A name that is none of ours may be a password typed into the wrong field: it is not kept.
            known = name if any(user.name == name for user in site.config.web.auth) else "unknown"
            await threaded(site.refusals.refused, known, address)
            return site.page(request, "login.html", failed=True, next=target, status_code=403)
        await threaded(site.ledger.record_act, session.name, "logged in", f"from {address}")
        answer = RedirectResponse(_own(target), 303)
        site.set_cookie(request, answer, session)
        return answer

    async def logout(self, request: Request) -> Response:
        await self._site.form(request)
        self._site.sessions.end(request.state.session)
        await threaded(self._site.ledger.record_act, self._site.who(request), "logged out", f"from {self._site.address(request)}")
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE)
        return answer

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """200 while the ledger answers and the disk is above its floor, else 503 and why."""
        disk = (await self._status())["disk"]
        if disk["free"] < disk["min_free"]:
            return PlainTextResponse("disk below listener.min_free_disk\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(self, request: Request) -> Response:
        site = self._site
        residuals = await threaded(site.ledger.residual_bounds, site.config.sampling.level, 1)
        stages = await threaded(read_stages, site.config.node.data_dir)
        text = exposition(await self._status(), residuals, await threaded(site.ledger.paused_destinations), stages)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _status(self) -> dict[str, Any]:
        return await threaded(full_status, self._site.config, self._site.ledger)


def _own(target: str) -> str:
    """Where to go after the log-in: a path of ours, never another site."""
    parts = urlsplit(target)
    return target if target.startswith("/") and not target.startswith("//") and "\\" not in target and not parts.netloc else "/"


def _charts(points: list[FlowPoint], width: int) -> list[Any]:
    times = [point.at for point in points]
    per = "per minute" if width == MINUTE else "per hour"
    routes = sorted({name for point in points for name in point.received})
    places = sorted({name for point in points for name in point.delivered})
    moved = {f"received {name}": [float(point.received.get(name, 0)) for point in points] for name in routes}
    moved |= {f"delivered {name}": [float(point.delivered.get(name, 0)) for point in points] for name in places}
    waiting = {f"waiting for {name}": [float(point.waiting.get(name, 0)) for point in points] for name in places}
    waiting |= {f"quarantined {name}": [float(point.quarantined.get(name, 0)) for point in points] for name in routes}
    return [chart(f"Instances {per}", times, moved), chart("Waiting and quarantined", times, waiting),
            chart("Age of the oldest waiting", times, {"oldest": [point.oldest for point in points]}, seconds=True)]
