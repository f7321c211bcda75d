"""The cleaning core run for a person who asks what it does: the same steps as `clean_batch`, the decisions shown, nothing kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from radanon_node.errors import HoldInstance
from radanon_node.pipeline.clean import Prepared, finish, look, prepare
from radanon_node.pipeline.receipt import describe_region
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Received
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.pixels.picture import before_after_png
from radanon_node.pixels.view import views


@dataclass(slots=True)
class Explanation:
    """What would happen to one instance.

    Attributes
    ----------
    elements : list of dict
        ``path``, ``keyword``, ``fate``, ``rule`` of each element; no values.
    boxes : list of dict
        As in a receipt.
    looked : dict
        Which table row chose which detectors and frames.
    reason, detail : str
        Why it would be quarantined; empty when it would be released.
    receipt : dict
        Of the released instance.
    picture : bytes or None
        PNG of the first frame before and after, if asked for.
    """

    elements: list[dict[str, str]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    looked: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)
    picture: bytes | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("reason", "detail", "looked", "boxes", "elements", "receipt")}


def explain(received: Received, policy: Policy, tools: Tools, picture: bool = False) -> Explanation:
    """Clean one instance and say how each decision was made.

    Parameters
    ----------
    received : Received
    policy : Policy
    tools : Tools
    picture : bool
        Also draw the first frame before and after, which shows the original.
    """
    result = Explanation()
    try:
        item = prepare(received, policy, tools)
        fates = tools.scrubber(policy).explain(item.dataset, item.identifiers)
        result.elements = [{"path": fate.path, "keyword": fate.keyword, "fate": fate.action, "rule": fate.rule} for fate in fates]
        look([item], policy, tools)
        result.boxes = [describe_region(region) for region in item.regions]
        if item.plan is not None:
            result.looked = {"rule": item.plan.rule, "markers": item.plan.markers, "text": item.plan.text}
        released = finish(item, policy, tools)
        result.receipt = released.receipt
        if picture and item.image is not None:
            result.picture = _picture(item, bytes(released.encoded))
    except HoldInstance as hold:
        result.reason, result.detail = str(hold.reason), hold.detail
    return result


def _picture(item: Prepared, encoded: bytes) -> bytes | None:
    if item.image is None:
        return None
    after = open_image(read_instance(encoded))
    return before_after_png(views(item.image, 0)[0], views(after, 0)[0], item.regions)
