"""Device rules: those that learned layouts propose, with accept and reject, and those that reviewers drew."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from radanon_node.errors import ConfigError
from radanon_node.ledger.layouts import UnknownLayout
from radanon_node.markers.rules import dump_rules
from radanon_node.rulebook import accept, proposed_rule, rulebook_path
from radanon_node.web.site import Handlers, threaded

_CLOSING = {"reject": "rejected", "acknowledge": "acknowledged"}


class Proposals(Handlers):
    """The request handlers."""

    def routes(self) -> list[Route]:
        return [
            Route("/rules", self._site.guard("reviewer", self.show)),
            Route("/rules/{token}", self._site.guard("admin", self.decide), methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        ledger = self._site.ledger
        proposed = [(entry, dump_rules([proposed_rule(entry)])) for entry in await threaded(ledger.layout_list, "proposed")]
        alarmed = await threaded(ledger.layout_list, None, True)
        drawn = [entry for entry in await threaded(ledger.reviews_list, 10_000) if entry.rule]
        return self._site.page(request, "rules.html", proposed=proposed, alarmed=alarmed, drawn=drawn,
                               book=rulebook_path(self._site.config).name)

    async def decide(self, request: Request) -> Response:
        form = await self._site.form(request)
        token, act, reason = request.path_params["token"], str(form.get("act", "")), str(form.get("reason", "")).strip()
        site, who = self._site, self._site.who(request)
        if not reason:
            raise HTTPException(400, "A reason must be given.")
        try:
            if act == "accept":
                await threaded(accept, site.ledger, rulebook_path(site.config), token, who, reason)
            elif act in _CLOSING:
                await threaded(site.ledger.layout_decide, token, _CLOSING[act], who, reason)
            else:
                raise HTTPException(400, "There is no such decision.")
        except UnknownLayout:
            raise HTTPException(404, "No kind of device has this token.") from None
        except (ConfigError, ValueError) as error:
            raise HTTPException(409, f"This cannot be done: {error}") from None
        return RedirectResponse("/rules", 303)
