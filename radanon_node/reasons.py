"""What each quarantine reason means for the person who looks after the node: shown by the docs and the review page."""

from __future__ import annotations

from radanon_node.errors import Reason

REASON_HELP: dict[Reason, str] = {
    Reason.NOT_DICOM: "The file is not DICOM, or cannot be read at all. Usual in folder mode: notes, pictures, DICOMDIR.",
    Reason.UNPARSABLE_DATASET: "The data set breaks off or breaks the rules of PS3.5 somewhere; what cannot be parsed cannot be scrubbed. "
    "Send it again; if it stays, the source writes broken objects.",
    Reason.UNKNOWN_TRANSFER_SYNTAX: "The transfer syntax is private or newer than this version.",
    Reason.UNKNOWN_SOP_CLASS: "The SOP class is private or unknown: no policy says how it is judged. "
    "Set `pixels.sop_classes` of the profile if you know that it is safe.",
    Reason.MISSING_ATTRIBUTE: "An attribute without which the instance cannot be processed is missing or empty (UIDs, Rows, Columns ...).",
    Reason.UID_MISMATCH: "SOP Class, SOP Instance or Transfer Syntax UID inside differ from what the sender announced.",
    Reason.UID_CONFLICT: "Another instance with the same SOP Instance UID and other content was received before. Neither overwrites the "
    "other; find out at the source which one is right, then drop this one.",
    Reason.MIXED_PATIENTS: "The study already has instances of another Patient ID. Correct the study at its source.",
    Reason.UNKNOWN_PATIENT: "The pseudonym table does not list this patient. Add a line and retry.",
    Reason.UNDECODABLE_PIXELS: "The pixel data does not decode. It was not looked at, so it does not leave.",
    Reason.PIXEL_DATA_MISMATCH: "Length, frames or encoding of the pixel data do not agree with Rows, Columns, Bits Allocated and so on.",
    Reason.PIXEL_LIMIT: "More pixels than `pixels.max_pixels`, or more memory needed than the worker may use.",
    Reason.UNSUPPORTED_PIXELS: "A photometric interpretation, bit depth or encoding that this version cannot judge.",
    Reason.VIDEO: "MPEG or HEVC video: no decoder here, so nothing looked at it.",
    Reason.ENCAPSULATED_DOCUMENT: "An encapsulated PDF, CDA or model. "
    "`tags.encapsulated_documents: replace` sends an empty valid one instead.",
    Reason.POLICY_HOLD: "The modality table or the profile says that this SOP class is looked at by a person first.",
    Reason.MODEL_MISSING: "The model this instance needs is not installed. See `radanon doctor`.",
    Reason.RULE_MISSING: "A rule the policy demands for this device does not exist.",
    Reason.LAYOUT_CHANGED: "This device's screens no longer have text where they used to.",
    Reason.TOO_MUCH_TEXT: "More of the picture is text than `pixels.max_text_share`: probably a scanned page or a report.",
    Reason.IDENTITY_LEFT: "The second look found an identifier of this patient in the bytes that were about to leave. "
    "Usually free text that an option kept; `radanon explain` shows the elements.",
    Reason.RECALLED: "It had been released and is recalled, since identity was found in what left the same way. "
    "`radanon recall show` names the recall; closing that cleans it again.",
    Reason.PIXELS_CHANGED_OUTSIDE: "The second look found pixels changed outside the boxes: an encoder did not do what it promised.",
    Reason.PIXELS_NOT_FILLED: "The second look found a box that is not black.",
    Reason.INVALID_OUTPUT: "The clean instance would have been invalid DICOM, or could not be read back.",
    Reason.TIME_LIMIT: "Cleaning took longer than `worker.time_limit`.",
    Reason.WORKER_KILLED: "The process that worked on it died each time (a crash in a decoder, memory). Keep it for the developers.",
    Reason.INTERNAL_ERROR: "An unforeseen error; type and place are in the detail. Please report it.",
}
