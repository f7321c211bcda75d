"""The receipt of an instance (law 6): what was done to it and under which policy, without any identity or recognised text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blake3 import blake3

import radanon_node
from radanon_node.ledger.record import PREAMBLE, carries
from radanon_node.pipeline.policy import PixelPlan
from radanon_node.pipeline.released import digest_of
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Buffer, Received, Region, Stamp
from radanon_node.pixels.instance import Instance
from radanon_node.pixels.redact import Redacted

RECEIPT_VERSION = 1


def new_receipt(
    received: Received,
    instance: Instance,
    regions: Sequence[Region],
    pixels: Redacted | None,
    plan: PixelPlan | None,
    unseen: str,
    policy: Policy,
    tools: Tools,
) -> dict[str, Any]:
    """The part of the receipt that is known before the verifier has looked; see docs/receipts.md for the fields."""
    receipt: dict[str, Any] = {
        "receipt_version": RECEIPT_VERSION,
        "program_version": radanon_node.__version__,
        "policy": {"profile": policy.name, "hash": policy.hash, "options": list(policy.profile.tags.options)},
        "input": {
            "size": len(received.data),
            "digest": _digest_as_received(received.data),
            "transfer_syntax_uid": instance.transfer_syntax_uid,
            "sop_class_uid": instance.sop_class_uid,
        },
        "boxes": [describe_region(region) for region in regions],
    }
    if plan is not None:
        receipt["looked"] = {
            "rule": plan.rule,
            "markers": plan.markers,
            "text": plan.text,
            "frames": "all" if plan.frames is None else len(plan.frames),
        }
        if plan.markers:
            receipt["looked"]["marker_model"] = tools.markers.model_hash
    if unseen:
        receipt["looked"] = {"passed_unseen": unseen}
    if pixels is not None:
        receipt["pixels"] = {"method": pixels.method, **pixels.digests}
    return receipt


def describe_region(region: Region) -> dict[str, Any]:
    """A region as receipts, reports and `explain` show it: geometry, verdict and code, never text."""
    return {
        "box": [region.box.x0, region.box.y0, region.box.x1, region.box.y1],
        "frames": "all" if region.frames is None else list(region.frames),
        "kind": str(region.kind),
        "verdict": str(region.verdict),
        "confidence": round(region.confidence, 4),
        "source": str(region.source),
        "why": region.why,
        "masked": region.mask is not None,
        **({"drawn": _describe_stamp(region.stamp)} if region.stamp is not None else {}),
    }


def _describe_stamp(stamp: Stamp) -> dict[str, Any]:
    """The letter that the program itself has drawn: no recognised text but one of the profile's list."""
    box = stamp.box
    return {
        "letter": stamp.letter, "box": [box.x0, box.y0, box.x1, box.y1], "turn": round(stamp.turn, 1), "mirrored": stamp.mirrored,
        "dark": stamp.dark,
    }


def _digest_as_received(data: Buffer) -> str:
    """Of the file with an empty preamble, where the listener has put its record there: the same instance has the same digest again."""
    if not carries(data):
        return digest_of(data)
    with memoryview(data) as view, view[PREAMBLE:] as rest:
        return blake3(bytes(PREAMBLE)).update(rest).hexdigest()
