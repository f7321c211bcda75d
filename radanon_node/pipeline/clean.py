"""The cleaning core: received bytes in, `Released` or `Quarantined` out; no sockets, files or database.

Instances of a batch share one call of each model; everything else is done per instance, so that one bad instance costs itself
alone and no result depends on what else was in the batch, except that a patient's instances share what the patient is known by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from pydicom.dataset import Dataset

from radanon_node.biometrics.stage import Anonymiser, anonymiser
from radanon_node.biometrics.suits import suits
from radanon_node.errors import UNSEEABLE, HoldInstance, RadanonError, Reason
from radanon_node.markers.layouts import Device
from radanon_node.markers.line_ends import follow_lines, with_lines
from radanon_node.markers.retention import judge
from radanon_node.markers.text import judge_text
from radanon_node.markers.text_film import film_text
from radanon_node.pipeline.policy import PixelPlan, plan, policy_table, said_no
from radanon_node.pipeline.receipt import new_receipt
from radanon_node.pipeline.regions import check_text_share, with_margins
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.reviewed import reviewed
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Cleaned, Detection, GrayFrame, Quarantined, Received, Region, Source, Verdict
from radanon_node.pipeline.verify import verify
from radanon_node.pixels.codec import Image, open_image
from radanon_node.pixels.instance import Instance, encode_instance, read_instance
from radanon_node.pixels.redact import passthrough, redact
from radanon_node.pixels.view import views
from radanon_node.tags.engine import PixelFacts
from radanon_node.tags.identifiers import Identifiers, collect
from radanon_node.tags.known import Known, remembered
from radanon_node.tags.pseudonyms import PatientKey, patient_key

T = TypeVar("T")


@dataclass(slots=True)
class Prepared:
    """One instance on its way through `clean_batch`: read, decoded, looked at."""

    received: Received
    instance: Instance
    identifiers: Identifiers
    image: Image | None = None
    plan: PixelPlan | None = None
    unseen: str = ""  # why site policy let pixels pass that nothing could judge; empty = they were judged
    views: dict[int, list[GrayFrame]] = field(default_factory=dict)  # frame -> its views, where the marker model looks
    markers: dict[int, list[Detection]] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    anatomy: Anonymiser | None = None  # what is to be done to the anatomy itself
    anatomy_passes: str = ""  # why a profile that anonymises the anatomy leaves this one's as it is

    @property
    def dataset(self) -> Dataset:
        return self.instance.dataset


def clean_batch(received: Sequence[Received], policy: Policy, tools: Tools) -> list[Released | Quarantined]:
    """Clean, verify and release or quarantine each of `received`.

    Parameters
    ----------
    received : sequence of Received
    policy : Policy
        Of the route they came by.
    tools : Tools

    Returns
    -------
    list of Released or Quarantined
        In the order of `received`.
    """
    results: dict[int, Released | Quarantined] = {}

    def guarded(index: int, step: Callable[[], T]) -> T | None:
        """Runs one instance's step; its failure becomes its own quarantine."""
        try:
            return step()
        except HoldInstance as hold:
            results[index] = Quarantined(received[index].label, hold.reason, hold.detail)
        except RadanonError:
            raise  # the configuration or the machine, not this instance
        except MemoryError:
            results[index] = Quarantined(received[index].label, Reason.PIXEL_LIMIT, "not enough memory for this instance")
        except Exception as error:  # noqa: BLE001  an unforeseen error is a verdict on the instance, never a release
            results[index] = Quarantined(received[index].label, Reason.INTERNAL_ERROR, _place(error))
        return None

    prepared: dict[int, Prepared] = {}
    for index, item in enumerate(received):
        ready = guarded(index, partial(prepare, item, policy, tools))
        if ready is not None:
            prepared[index] = ready
    with tools.watch.stage("recall"):
        recall(list(prepared.values()), policy, tools)
    try:
        detect_markers(list(prepared.values()), policy, tools)
    except Exception:  # noqa: BLE001  whose fault it was shows when each instance is looked at alone
        for index, ready in prepared.items():
            ready.markers.clear()
            guarded(index, partial(detect_markers, [ready], policy, tools))
    for index in list(prepared):
        ready = prepared.pop(index)  # its frames are freed before the next is encoded
        if index not in results:
            guarded(index, partial(judge_regions, ready, policy, tools))
        if index not in results:
            released = guarded(index, partial(finish, ready, policy, tools))
            if released is not None:
                results[index] = released
    return [results[index] for index in range(len(received))]


def prepare(received: Received, policy: Policy, tools: Tools) -> Prepared:
    """Read one instance, check it against what its sender claimed, and decode what the plan wants looked at.

    Raises
    ------
    HoldInstance
        With the reason it cannot be judged.
    """
    with tools.watch.stage("read"):
        instance = read_instance(received.data)
        _check_claims(received, instance)
    with tools.watch.stage("identifiers"):
        ready = Prepared(received, instance, collect(instance.dataset))
    settings = policy.profile.pixels
    if instance.pixels is None:
        _plan(ready, policy, 0)  # holds classes that may not pass
        return ready
    with tools.watch.stage("decode"):
        try:
            ready.image = open_image(instance)
            if ready.image.rows * ready.image.columns * ready.image.frames > settings.max_pixels:
                raise HoldInstance(Reason.PIXEL_LIMIT, f"more than {settings.max_pixels} pixels")
            ready.plan = _plan(ready, policy, ready.image.frames)
            if ready.plan.markers:
                for frame in _frames(ready.plan, ready.image):
                    ready.views[frame] = views(ready.image, frame)
        except HoldInstance as hold:
            allowed = settings.unknown == "pass" or received.waives(hold.reason)
            if not allowed or hold.reason not in UNSEEABLE:
                raise
            ready.image, ready.plan, ready.unseen = None, None, str(hold.reason)
    if policy.profile.biometrics.method != "off":
        _choose_anatomy(ready, policy, tools)
    return ready


def _choose_anatomy(item: Prepared, policy: Policy, tools: Tools) -> None:
    """Whether and how the anatomy is anonymised.

    Raises
    ------
    HoldInstance
        ``policy_hold`` for what it cannot be done to (a reviewer may let it pass as it is), ``model_missing``.
    """
    settings, instance = policy.profile.biometrics, item.instance
    try:
        item.anatomy_passes = suits(item.dataset, instance.sop_class_uid, item.image, settings)
    except HoldInstance as hold:
        if not item.received.waives(hold.reason):
            raise
        item.anatomy_passes = "reviewer"
    if not item.anatomy_passes:
        stand_ins = tools.scrubber(policy).pseudonyms
        patient = stand_ins.patient_token(patient_key(item.dataset))
        item.anatomy = anonymiser(settings, tools.generator(settings), stand_ins.secret, patient, instance.sop_instance_uid)


def recall(items: Sequence[Prepared], policy: Policy, tools: Tools) -> None:
    """Add to each item's identifiers what the patient is known by from other instances, and keep what is new in these.

    Raises
    ------
    StorageError
        The memory does not answer: without it nothing is judged.
    """
    if tools.memory is None or not policy.profile.pseudonyms.remember_identifiers:
        return
    seen: dict[PatientKey, Known] = {}
    patients: list[tuple[Prepared, PatientKey]] = []
    last: tuple[object, ...] = ()
    for item in items:
        patient, own = patient_key(item.dataset), item.identifiers
        if not remembered(patient):
            continue
        patients.append((item, patient))
        # Instances of a series say the same: comparing is cheaper than merging.
        if (patient, own.values, own.days, own.birth_days) != last:
            last = (patient, own.values, own.days, own.birth_days)
            seen[patient] = seen.get(patient, Known()).with_(Known.of(own))
    known = tools.memory.exchange(seen)
    for item, patient in patients:
        item.identifiers = known[patient].added_to(item.identifiers)


def _plan(item: Prepared, policy: Policy, frames: int) -> PixelPlan:
    """The modality table's plan; an instance it holds and a reviewer let pass is searched for markers (films) or printed text."""
    try:
        return plan(item.dataset, item.instance.sop_class_uid, policy.profile.pixels, frames)
    except HoldInstance as hold:
        if hold.reason is Reason.POLICY_HOLD and item.received.waives(hold.reason):
            film = str(item.dataset.get("Modality") or "").strip().upper() in policy_table().film_modalities
            return PixelPlan(markers=film and frames > 0, text=not film and frames > 0, frames=None, rule="reviewer")
        raise


def _check_claims(received: Received, instance: Instance) -> None:
    for claimed, found, name in (
        (received.claimed_sop_class_uid, instance.sop_class_uid, "SOP Class UID"),
        (received.claimed_sop_instance_uid, instance.sop_instance_uid, "SOP Instance UID"),
        (received.claimed_transfer_syntax_uid, instance.transfer_syntax_uid, "Transfer Syntax UID"),
    ):
        if claimed and claimed != found:
            raise HoldInstance(Reason.UID_MISMATCH, f"{name} of the data set is not the one its sender announced")


def _frames(chosen: PixelPlan, image: Image) -> Sequence[int]:
    return range(image.frames) if chosen.frames is None else chosen.frames


def look(items: Sequence[Prepared], policy: Policy, tools: Tools) -> None:
    """One call of the marker model for all views of all instances, then the verdict on each instance's regions.

    Raises
    ------
    HoldInstance
        Of the first instance that cannot be judged; `clean_batch` gives each its own guard instead.
    """
    detect_markers(items, policy, tools)
    for item in items:
        judge_regions(item, policy, tools)


def detect_markers(items: Sequence[Prepared], policy: Policy, tools: Tools) -> None:
    """Fill ``markers`` of each item with one call of the model."""
    looks = [(item, frame, view) for item in items for frame, seen in item.views.items() for view in seen]
    if not looks:
        return
    with tools.watch.stage("detect"):
        found = tools.markers.detect([view for _, _, view in looks], policy.profile.pixels.min_confidence)
    for (item, frame, _), detections in zip(looks, found, strict=True):
        item.markers.setdefault(frame, []).extend(detections)


def judge_regions(item: Prepared, policy: Policy, tools: Tools) -> None:
    """Fill ``item.regions`` from markers, printed text and device rules."""
    if item.image is None or item.plan is None:
        if item.received.edits:
            raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "a reviewer's boxes cannot be put on pixels that nothing decodes")
        return
    image, chosen, settings = item.image, item.plan, policy.profile.pixels
    regions: list[Region] = []
    laterality = str(item.dataset.get("ImageLaterality") or item.dataset.get("Laterality") or "")
    with tools.watch.stage("retention"):
        for frame, seen in item.views.items():
            detections = item.markers.get(frame, [])
            if chosen.text:
                detections = with_lines(detections, film_text(seen[0], lambda: tools.text, detections))
            judged = judge(seen[0], follow_lines(seen[0], detections), settings.retain, item.identifiers, laterality, settings.restamp)
            regions += _on_frame(judged, frame, image.frames)
    if chosen.text and not chosen.markers:
        with tools.watch.stage("text"):
            whole = tools.observer is not None and tools.observer.reads_all(Device.of(item.dataset, image.rows, image.columns))
            regions += judge_text(item.dataset, _main_views(image, chosen), tools.text, item.identifiers, settings, whole)
    if chosen.text and tools.observer is not None:
        tools.observer.judged(
            Device.of(item.dataset, image.rows, image.columns), policy.route, regions, said_no(item.dataset),
            learns=not chosen.markers and settings.layout_change != "off",
            holds=settings.layout_change == "hold" and not item.received.waives(Reason.LAYOUT_CHANGED))
    regions += _device_rules(item, policy, tools, image)
    regions = with_margins(regions, settings.margin, image.rows, image.columns)
    regions = reviewed(regions, item.received.edits, image.rows, image.columns, image.frames)
    if not item.received.waives(Reason.TOO_MUCH_TEXT):
        found = [region for region in regions if region.source is not Source.REVIEWER]
        check_text_share(found, settings.max_text_share, image.rows, image.columns)
    item.regions = regions
    item.views.clear()


def _device_rules(item: Prepared, policy: Policy, tools: Tools, image: Image) -> list[Region]:
    try:
        return tools.rules(policy).regions_for(item.dataset, image.rows, image.columns)
    except HoldInstance as hold:
        if hold.reason is Reason.LAYOUT_CHANGED and item.received.waives(hold.reason):
            return []  # no rule knows this layout; a reviewer has looked at the picture and drawn what is needed
        raise


def _on_frame(regions: Sequence[Region], frame: int, frames: int) -> Iterator[Region]:
    for region in regions:
        yield region if frames == 1 else replace(region, frames=(frame,))


def _main_views(image: Image, chosen: PixelPlan) -> Iterator[tuple[int, GrayFrame]]:
    """Each frame's main view in turn, so that a long loop is never in memory whole."""
    for frame in _frames(chosen, image):
        yield frame, views(image, frame)[0]


def finish(item: Prepared, policy: Policy, tools: Tools) -> Released:
    """Redact, scrub, encode and verify one instance whose regions are judged.

    Raises
    ------
    HoldInstance
        When it cannot be encoded, or the second look finds anything.
    """
    instance, image = item.instance, item.image
    redacted_regions = [region for region in item.regions if region.verdict is Verdict.REDACT]
    with tools.watch.stage("redact" if item.anatomy is None else "anatomy"):
        if image is None:
            new_pixels = None
        elif item.anatomy is not None:
            new_pixels = item.anatomy.apply(image, redacted_regions)
        elif redacted_regions:
            new_pixels = redact(image, redacted_regions)
        else:
            new_pixels = passthrough(image)
    syntax = new_pixels.transfer_syntax_uid if new_pixels is not None else instance.transfer_syntax_uid
    facts = PixelFacts(
        has_pixels=instance.pixels is not None,
        looked=item.plan is not None and (item.plan.markers or item.plan.text),
        redacted=bool(redacted_regions),
        anatomy=item.anatomy.told() if item.anatomy is not None else "",
    )
    with tools.watch.stage("scrub"):
        scrubbed = tools.scrubber(policy).scrub(instance.dataset, facts, syntax, item.identifiers)
        if new_pixels is not None:
            for keyword, value in new_pixels.changes.items():
                setattr(scrubbed.dataset, keyword, value)
    with tools.watch.stage("encode"):
        encoded = encode_instance(scrubbed.dataset, syntax, new_pixels.pixels if new_pixels is not None else instance.pixels)
    receipt = new_receipt(item.received, instance, item.regions, new_pixels, item.plan, item.unseen, policy, tools)
    if item.anatomy is not None or item.anatomy_passes:
        receipt["biometrics"] = item.anatomy.receipt() if item.anatomy is not None else {"passed": item.anatomy_passes}
    cleaned = Cleaned(
        label=item.received.label,
        encoded=encoded.data,
        sop_class_uid=scrubbed.sop_class_uid,
        sop_instance_uid=scrubbed.sop_instance_uid,
        transfer_syntax_uid=syntax,
        folder=scrubbed.folder,
        receipt=receipt,
    )
    with tools.watch.stage("verify"):
        return verify(cleaned, instance, image, redacted_regions, scrubbed, item.identifiers, item.received.waived, item.anatomy)


def _place(error: BaseException) -> str:
    """Type and place of an unforeseen error, without its text, which may quote the data set."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{where}"
