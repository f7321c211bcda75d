"""Law 3 where the anatomy is anonymised: what leaves is exactly the stated change of the redacted film, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radanon_node.biometrics.stage import Anonymiser
from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Region
from radanon_node.pixels.codec import Image


def prove_anonymised(before: Image, after: Image, regions: Sequence[Region], stage: Anonymiser) -> dict[str, Any]:
    """Compute the anonymised film again from the received one and compare it with what is about to leave, value by value.

    Parameters
    ----------
    before, after : Image
        `after` read back from the encoded file.
    regions : sequence of Region
        What was blacked out before.
    stage : Anonymiser

    Returns
    -------
    dict
        For the receipt.

    Raises
    ------
    HoldInstance
        ``pixels_changed_outside`` where any value differs, ``pixels_not_filled`` where the inside of a box is not black.
    """
    told, now = before.description, after.description
    if (told.rows, told.columns, told.frames, told.samples) != (now.rows, now.columns, now.frames, now.samples):
        raise HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, "the picture has another size than before")
    if (told.bits_stored, told.signed, told.floating, told.photometric) != (now.bits_stored, now.signed, now.floating, now.photometric):
        raise HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, "stored values have another meaning than before")
    proof: dict[str, Any] = {"anatomy": "recomputed and equal", "inside": "none", "frames": 1, "frames_compared_decoded": 1}
    found = after.frame(0)
    with stage.computed(before, regions) as expected:
        if not np.array_equal(found, expected.values):
            raise HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, "the picture is not the stated change of the redacted film")
        boxes = expected.moved_boxes()
        if boxes is not None:
            if (found[boxes] != np.asarray(expected.paint.black[0]).astype(found.dtype)).any():
                raise HoldInstance(Reason.PIXELS_NOT_FILLED, "a box is not black after the deformation")
            proof |= {"inside": "filled", "redacted_pixels": int(np.count_nonzero(boxes))}
    return proof
