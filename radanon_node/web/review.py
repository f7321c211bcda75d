"""The review pages: what is held and what was sampled, before and after, and a person's decision about it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from radanon_node.errors import HoldInstance, StorageError
from radanon_node.ledger.quarantine import UnknownEntry
from radanon_node.ledger.reviews import DECIDABLE, Review, ReviewSource
from radanon_node.pipeline.reviewed import edits_as_json, edits_from
from radanon_node.web.labels import boxes_of_text, labels_of
from radanon_node.web.site import Handlers, Site, threaded
from radanon_node.web.viewer import CannotShow, Outcome

_ROWS = 200
_SEEN_S = 900.0
_DECISIONS = ("release", "retry", "drop", "clean", "residual")


class ReviewPages(Handlers):
    """The request handlers.

    Parameters
    ----------
    site : Site
    """

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._seen: dict[tuple[str, int], float] = {}

    def routes(self) -> list[Route]:
        guard = self._site.guard
        return [
            Route("/review", guard("reviewer", self.queue)),
            Route("/review/decisions", guard("reviewer", self.decisions)),
            Route("/review/rules.yaml", guard("reviewer", self.rules)),
            Route("/review/{id:int}", guard("reviewer", self.show)),
            Route("/review/{id:int}", guard("reviewer", self.decide), methods=["POST"]),
            Route("/review/{id:int}/result.json", guard("reviewer", self.result)),
            Route("/review/{id:int}/{side:str}.png", guard("reviewer", self.png)),
            Route("/review/{id:int}/{side:str}.levels", guard("reviewer", self.levels)),
            Route("/residual", guard("viewer", self.residual)),
        ]

    async def queue(self, request: Request) -> Response:
        held = await threaded(self._site.ledger.quarantine_list, limit=_ROWS)
        samples = await threaded(self._site.ledger.sample_list, _ROWS)
        return self._site.page(request, "queue.html", held=held, samples=samples, decidable=DECIDABLE)

    async def decisions(self, request: Request) -> Response:
        entries = await threaded(self._site.ledger.reviews_list, 1000)
        return self._site.page(request, "decisions.html", entries=list(reversed(entries)))

    async def rules(self, request: Request) -> Response:
        """The device rules that reviewers proposed, one YAML document each."""
        entries = await threaded(self._site.ledger.reviews_list, 10_000)
        parts = [f"# review {entry.id}, instance {entry.instance_id}\n{entry.rule}" for entry in entries if entry.rule]
        return PlainTextResponse("---\n".join(parts) or "# none proposed yet\n", media_type="text/yaml")

    async def residual(self, request: Request) -> Response:
        sampling = self._site.config.sampling
        rows = await threaded(self._site.ledger.residual_bounds, sampling.level)
        return self._site.page(request, "residual.html", rows=rows, sampling=sampling)

    async def show(self, request: Request) -> Response:
        source = await self._source(request)
        whole = Outcome()
        problem = ""
        if request.query_params.get("full"):
            try:
                whole = await self._outcome(source, source.edits)
            except CannotShow as error:
                problem = str(error)
        following = await threaded(self._next, source)
        history = await threaded(self._site.ledger.reviews_list, 50, 0, source.id)
        frame = request.query_params.get("frame", "")
        return self._site.page(
            request, "review.html", source=source, outcome=whole, problem=problem, following=following, history=history,
            frame=int(frame) if frame.isdigit() else 0, full=bool(request.query_params.get("full")),
            edits=json.dumps(source.edits or {"added": [], "removed": []}), confirm=request.query_params.get("confirm") == "drop",
        )  # fmt: skip

    async def result(self, request: Request) -> Response:
        source = await self._source(request)
        try:
            outcome = await self._outcome(source, _asked_edits(request))
        except CannotShow as error:
            return JSONResponse({"problem": str(error)})
        return JSONResponse({"boxes": outcome.boxes, "reason": outcome.reason, "detail": outcome.detail, "rows": outcome.rows,
                             "columns": outcome.columns, "frames": outcome.frames, "problem": ""})

    async def png(self, request: Request) -> Response:
        _, data = await self._picture(request, png=True)
        return Response(data, media_type="image/png")

    async def levels(self, request: Request) -> Response:
        """A frame in all its depth: unsigned levels, row by row, little endian, described by the headers."""
        headers, data = await self._picture(request, png=False)
        return Response(data, media_type="application/octet-stream", headers={**headers, "Content-Encoding": "gzip"})

    async def _picture(self, request: Request, png: bool) -> tuple[dict[str, str], bytes]:
        side, frame = request.path_params["side"], request.query_params.get("frame", "0")
        if side not in ("before", "after") or not frame.isdigit():
            raise HTTPException(404, "There is no such picture.")
        source = await self._source(request)
        await self._audit_sight(request, source.id)
        try:
            return await threaded(self._site.viewer.picture, source, side == "after", int(frame), _asked_edits(request), png)
        except CannotShow as error:
            raise HTTPException(422, f"This picture cannot be shown: {error}") from None

    async def _audit_sight(self, request: Request, instance_id: int) -> None:
        """Who is shown which original goes into the audit trail before it is shown, once in a quarter of an hour."""
        key, now = (self._site.who(request), instance_id), time.monotonic()
        if now - self._seen.get(key, -_SEEN_S) < _SEEN_S:
            return
        await threaded(self._site.ledger.original_seen, instance_id, key[0])
        self._seen = {one: at for one, at in self._seen.items() if now - at < _SEEN_S} | {key: now}

    async def decide(self, request: Request) -> Response:
        form = await self._site.form(request)
        source = await self._source(request)
        decision, note = str(form.get("decision", "")), str(form.get("note", "")).strip()
        if decision not in _DECISIONS:
            raise HTTPException(400, "There is no such decision.")
        if decision == "drop" and form.get("confirmed") != "yes":
            return RedirectResponse(f"/review/{source.id}?confirm=drop#drop", 303)
        if not note:
            raise HTTPException(400, "A reason must be given.")
        edits = await self._form_edits(form, source)
        following = await threaded(self._next, source)
        labels, rule = await self._lessons(source, edits, decision, bool(form.get("label")), bool(form.get("rule")))
        sampling = self._site.config.sampling
        keep = sampling.keep_labels if labels else 0.0
        if decision == "residual":  # its original stays, so that a recall can clean it again
            keep = max(keep, sampling.keep)
        try:
            await threaded(self._site.ledger.review, Review(
                source.id, self._site.who(request), decision, note, edits, labels, rule, keep))  # type: ignore[arg-type]
        except ValueError as error:
            raise HTTPException(409, f"This cannot be done: {error}") from None
        if decision == "residual":  # where there is one there may be more: what left the same way is shown next
            return RedirectResponse(f"/recalls?found={source.id}&same=device&same=policy", 303)
        return RedirectResponse(f"/review/{following}" if following else "/review", 303)

    async def _form_edits(self, form: Mapping[str, Any], source: ReviewSource) -> dict[str, Any] | None:
        """The corrections of the form: as the script wrote them, and as typed and ticked without it."""
        try:
            drawn = edits_from(json.loads(str(form.get("edits") or "null")))
            edits = edits_as_json(drawn) or {"added": [], "removed": []}
            edits["added"] += boxes_of_text(str(form.get("add", "")))
            ticked = [int(index) for index in form.getlist("remove") if str(index).isdigit()]  # type: ignore[attr-defined]
            if ticked:
                boxes = (await self._outcome(source, source.edits)).boxes
                edits["removed"] += [{key: boxes[index][key] for key in ("box", "frames", "kind")}
                                     for index in ticked if index < len(boxes)]
            return edits_as_json(edits_from(edits))
        except CannotShow as error:
            raise HTTPException(409, f"Its boxes cannot be found: {error}") from None
        except ValueError as error:  # also what json raises
            raise HTTPException(400, f"The boxes cannot be read: {error}") from None

    async def _lessons(self, source: ReviewSource, edits: dict[str, Any] | None, decision: str, label: bool,
                       rule: bool) -> tuple[list[dict[str, Any]], str]:
        """What the decision teaches: labels for fine-tuning, a proposed device rule; nothing where the picture says nothing."""
        labels: list[dict[str, Any]] = []
        text = ""
        if decision == "drop":
            return labels, text
        profile = self._site.config.route(source.route)
        margin = self._site.config.profiles[profile.profile].pixels.margin if profile else 0
        try:
            if label:
                labels = labels_of((await self._outcome(source, None)).boxes, edits, margin)
            if rule and edits and edits["added"]:
                text = await threaded(self._site.viewer.rule, source, edits, f"review-{source.id}")
        except CannotShow as error:
            raise HTTPException(409, f"No label or rule can be made of it: {error}") from None
        return labels, text

    async def _outcome(self, source: ReviewSource, edits: dict[str, Any] | None) -> Outcome:
        if source.source == "sample":
            rows, columns, frames = await threaded(self._site.viewer.size, source)
            return Outcome(source.boxes, "", "", rows, columns, frames)
        outcome = await threaded(self._site.viewer.outcome, source, edits)
        if outcome.rows:
            return outcome
        rows, columns, frames = await threaded(self._site.viewer.size, source)
        return Outcome(outcome.boxes, outcome.reason, outcome.detail, rows, columns, frames)

    async def _source(self, request: Request) -> ReviewSource:
        try:
            return await threaded(self._site.ledger.review_source, request.path_params["id"])
        except UnknownEntry:
            raise HTTPException(404, "This instance is not held, and no sample that waits for a look: it may have been decided.") from None

    def _next(self, source: ReviewSource) -> int | None:
        """The instance after this one in its queue, from the begin again after the last."""
        ledger = self._site.ledger
        if source.source == "sample":
            waiting = [entry.instance_id for entry in ledger.sample_list(_ROWS)]
            later = [one for one in waiting if one > source.id] + [one for one in waiting if one < source.id]
            return later[0] if later else None
        for after in (source.id, 0):
            entries = [entry.id for entry in ledger.quarantine_list(limit=2, after=after) if entry.id != source.id]
            if entries:
                return entries[0]
        return None


def _asked_edits(request: Request) -> dict[str, Any] | None:
    try:
        return edits_as_json(edits_from(json.loads(request.query_params.get("edits") or "null")))
    except (ValueError, HoldInstance, StorageError):
        raise HTTPException(400, "The boxes cannot be read.") from None
