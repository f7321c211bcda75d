"""The second look (law 4): what is about to leave is read back from its own bytes and searched, compared and validated.

This is the only place where `Released` is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from radanon_node.biometrics.proof import prove_anonymised
from radanon_node.biometrics.stage import Anonymiser
from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.released import Released, _issue, digest_of
from radanon_node.pipeline.types import Cleaned, Region
from radanon_node.pixels.codec import Image, open_image
from radanon_node.pixels.instance import Instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.tags.engine import Scrubbed
from radanon_node.tags.identifiers import Identifiers
from radanon_node.tags.search import find_identity
from radanon_node.tags.validity import check


def verify(
    cleaned: Cleaned,
    original: Instance,
    image: Image | None,
    redacted: Sequence[Region],
    scrubbed: Scrubbed,
    identifiers: Identifiers,
    waived: str = "",
    anatomy: Anonymiser | None = None,
) -> Released:
    """Look at the encoded bytes as a stranger would, and release them if nothing speaks against it.

    Parameters
    ----------
    cleaned : Cleaned
        The encoded file.
    original : Instance
        What was received.
    image : Image or None
        The received picture; None if there is none, or site policy lets its pixels pass unseen.
    redacted : sequence of Region
        The regions that were blacked out.
    scrubbed : Scrubbed
        What the tag engine says it made; carries which identifiers the policy keeps on purpose.
    identifiers : Identifiers
        Of the original data set.
    waived : str
        The reasons that a reviewer, having seen the instance, has let pass, separated by spaces; written into the receipt.
    anatomy : Anonymiser or None
        What was done to the anatomy after redaction; it is computed again.

    Returns
    -------
    Released

    Raises
    ------
    HoldInstance
        ``identity_left``, ``invalid_output``, ``pixels_changed_outside``, ``pixels_not_filled``.
    """
    after = _reread(cleaned)
    for name, expected, found in (
        ("SOP Class UID", cleaned.sop_class_uid, after.sop_class_uid),
        ("SOP Instance UID", cleaned.sop_instance_uid, after.sop_instance_uid),
        ("Transfer Syntax UID", cleaned.transfer_syntax_uid, after.transfer_syntax_uid),
    ):
        if expected != found:
            raise HoldInstance(Reason.INVALID_OUTPUT, f"{name} of the encoded file is not the one intended")
    if (after.pixels is None) != (original.pixels is None):
        raise HoldInstance(Reason.INVALID_OUTPUT, "Pixel Data appeared or disappeared")
    check(original.dataset, after.dataset, after.sop_class_uid)
    if after.nested_pixels:
        raise HoldInstance(Reason.INVALID_OUTPUT, f"pixels inside a sequence, which nothing looked at: {', '.join(after.nested_pixels)}")
    # In ``after.data`` a deflated data set is inflated: its text stands there as text.
    found_identity = find_identity(after.data, after.pixel_spans, scrubbed.searched(identifiers))
    if found_identity and Reason.IDENTITY_LEFT not in waived.split():
        kinds = sorted({finding.kind for finding in found_identity})
        raise HoldInstance(Reason.IDENTITY_LEFT, f"{len(found_identity)} place(s) still hold: {', '.join(kinds)}")
    digest = digest_of(cleaned.encoded)
    receipt = dict(cleaned.receipt)
    receipt["output"] = {
        "sop_instance_uid": cleaned.sop_instance_uid,
        "sop_class_uid": cleaned.sop_class_uid,
        "transfer_syntax_uid": cleaned.transfer_syntax_uid,
        "size": len(cleaned.encoded),
        "digest": digest,
    }
    searched = "waived by a reviewer" if found_identity else "clean"
    receipt["proof"] = {"identity_search": searched, "validity": "no Type 1 or 2 attribute lost"}
    if image is not None and after.pixels is not None:
        if anatomy is not None:
            receipt["proof"]["pixels"] = prove_anonymised(image, open_image(after), redacted, anatomy)
        else:
            receipt["proof"]["pixels"] = prove(image, open_image(after), redacted).as_dict()
    return _issue(cleaned, digest, receipt, scrubbed.study_key, scrubbed.patient_key, scrubbed.device_key)


def _reread(cleaned: Cleaned) -> Instance:
    try:
        return read_instance(cleaned.encoded)
    except HoldInstance as hold:
        raise HoldInstance(Reason.INVALID_OUTPUT, f"the encoded file cannot be read back ({hold.reason})") from hold
