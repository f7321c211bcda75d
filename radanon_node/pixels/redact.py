"""New pixels: the boxes blacked out, or the same pixels without what hides beside them. Nothing else changes (law 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import blake3
import numpy as np

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Buffer, Region, Verdict
from radanon_node.pixels import native, native_redact
from radanon_node.pixels.areas import Area, areas_of, touched
from radanon_node.pixels.codec import Image
from radanon_node.pixels.elements import NewPixels, PixelElement, Pixels
from radanon_node.pixels.encoders import CannotEncode, encode
from radanon_node.pixels.fill import Paint, paint_of
from radanon_node.pixels.jpeg_blocks import editable, redact_frame
from radanon_node.pixels.syntaxes import DEFLATED_LITTLE, EXPLICIT_LITTLE, JPEG_2000, JPEG_LOSSLESS_SV1, JPEG_LS, Codec

# What is encoded losslessly in place of each coding: same codec and the same UID, or the nearest lossless one.
_LOSSLESS = {
    Codec.RLE: (Codec.RLE, None),
    Codec.JPEG_LOSSLESS: (Codec.JPEG_LOSSLESS, None),
    Codec.JPEG_LS: (Codec.JPEG_LS, None),
    Codec.JPEG_2000: (Codec.JPEG_2000, None),
    Codec.DEFLATED_FRAMES: (Codec.DEFLATED_FRAMES, None),
    Codec.JPEG: (Codec.JPEG_LOSSLESS, JPEG_LOSSLESS_SV1),
    Codec.JPEG_LS_LOSSY: (Codec.JPEG_LS, JPEG_LS),
    Codec.JPEG_2000_LOSSY: (Codec.JPEG_2000, JPEG_2000),
    Codec.HTJ2K: (Codec.JPEG_2000, JPEG_2000),
    Codec.HTJ2K_LOSSY: (Codec.JPEG_2000, JPEG_2000),
}
_NOTHING = Paint(())
_STAMPED = "Side markers that could not be told from the text on them were blacked out and drawn anew: {}"
_LOSSY_METHOD = {
    Codec.JPEG: "ISO_10918_1",
    Codec.JPEG_LS_LOSSY: "ISO_14495_1",
    Codec.JPEG_2000_LOSSY: "ISO_15444_1",
    Codec.HTJ2K_LOSSY: "ISO_15444_15",
}


@dataclass(frozen=True)
class Redacted:
    """Pixels to be encoded and what has to be said about them.

    Parameters
    ----------
    pixels : NewPixels or PixelElement
        The original element where nothing at all had to change.
    transfer_syntax_uid : str
        That they are coded in.
    changes : dict of str to object
        Attribute keyword to the value the data set must have with them.
    method : str
        ``untouched`` (identical bytes), ``stripped`` (only what is no picture is gone), ``native`` (boxes filled in place),
        ``jpeg_blocks`` (coefficients under the boxes changed), ``reencoded`` (touched frames coded anew in the same lossless
        syntax), ``to_lossless`` (all frames coded anew in another, lossless, syntax).
    digests : dict of str to str
        ``before`` and ``after``: BLAKE3 over the pixel bytes (native value, or the fragments one after the other).
    """

    pixels: Pixels
    transfer_syntax_uid: str
    changes: dict[str, Any] = field(default_factory=dict)
    method: str = "untouched"
    digests: dict[str, str] = field(default_factory=dict)


def passthrough(image: Image) -> Redacted:
    """The pixels as they are, without what hides beside the picture.

    Returns
    -------
    Redacted
        ``untouched`` with the very element, unless there are comment or application segments in codestreams, bytes behind
        the picture, filled bits outside Bits Stored or wrong offset tables: these go (law 4 before law 3), stored values stay.

    Raises
    ------
    HoldInstance
        As ``Image.frame``, for frames that must be decoded to know what hides in them.
    """
    syntax = _plain_syntax(image)
    before = _digest(_original(image.pixels))
    if image.table is None:
        chunks, cleaned = native_redact.redact_native(image, {}, _NOTHING)
        spare = image.pixels.data[native.value_length(image.description) :]
        if not cleaned and len(spare) <= 1 and not any(spare):
            return Redacted(image.pixels, syntax, {}, "untouched", {"before": before, "after": before})
        pixels = NewPixels(image.pixels.tag, image.pixels.vr, chunks)
        return Redacted(pixels, syntax, {}, "stripped", {"before": before, "after": _digest(chunks)})
    if not image.table.tables_right or any(_impure(image, index) for index in range(image.frames)):
        if any(_hides_in_values(image, index) for index in range(image.frames)):
            return _reencode(image, {}, before, "stripped")
        return _assemble(image, {}, before, "stripped", {})
    return Redacted(image.pixels, syntax, {}, "untouched", {"before": before, "after": before})


def redact(image: Image, regions: Sequence[Region]) -> Redacted:
    """Black out `regions` in the frames they name.

    Parameters
    ----------
    image : Image
    regions : sequence of Region
        Only those with verdict ``REDACT`` count; without any this is `passthrough`.

    Returns
    -------
    Redacted

    Raises
    ------
    HoldInstance
        As ``Image.frame``; ``unsupported_pixels`` if no lossless syntax can hold the result.
    """
    areas = areas_of(regions, image.rows, image.columns, image.frames)
    if not areas:
        return passthrough(image)
    before = _digest(_original(image.pixels))
    paint = paint_of(image, areas)
    if image.table is None:
        chunks, _ = native_redact.redact_native(image, areas, paint)
        pixels = NewPixels(image.pixels.tag, image.pixels.vr, chunks)
        changes = _changes(image, paint, regions)
        return Redacted(pixels, _plain_syntax(image), changes, "native", {"before": before, "after": _digest(chunks)})
    # A drawn letter has no blocks: such a picture is coded anew, without loss.
    drawn = any(area.bright for parts in areas.values() for area in parts)
    steps = {index: None if drawn else editable(image, index) for index in areas}
    if all(step is not None for step in steps.values()):
        streams = {index: redact_frame(image, index, areas[index], step, paint.black) for index, step in steps.items() if step}
        return _assemble(image, streams, before, "jpeg_blocks", _changes(image, paint, regions))
    return _reencode(image, areas, before, "", paint, regions)


def _plain_syntax(image: Image) -> str:
    """A deflated data set leaves inflated: its compressed bytes could not be searched, and few archives take it."""
    uid = image.instance.transfer_syntax_uid
    return EXPLICIT_LITTLE if uid == DEFLATED_LITTLE else uid


def _original(pixels: PixelElement) -> Iterable[Buffer]:
    if pixels.fragments is None:
        return [pixels.data]
    return [pixels.fragment(index) for index in range(len(pixels.fragments.spans))]


def _digest(chunks: Iterable[Buffer]) -> str:
    hasher = blake3.blake3()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


def _hides_in_values(image: Image, index: int) -> bool:
    """Whether a coded frame carries bits outside Bits Stored. Decodes only where its coding has room for them."""
    stream = image.stream(index)
    room = image.description.bits_allocated if stream is None else stream.precision
    return room > image.bits_stored and native.hidden_bits(image.raw_bits(index), image.description)


def _impure(image: Image, index: int) -> bool:
    stream = image.stream(index)
    if stream is not None and stream.foreign:
        return True
    if stream is None:
        image.frame(index)  # RLE and deflate say only when decoded whether they end where they should
    return _hides_in_values(image, index)


def _assemble(image: Image, streams: dict[int, bytes], before: str, method: str, changes: dict[str, Any]) -> Redacted:
    """Frames in their own syntax: those of `streams` new, the others as they are but clean."""
    assert image.table is not None
    fragments = image.pixels.fragments
    assert fragments is not None
    chunks: list[Buffer] = []
    sizes: list[int] = []
    for index, (first, last) in enumerate(image.table.groups):
        stream = image.stream(index)
        if index in streams:
            chunks.append(streams[index])
        elif stream is not None and stream.foreign:
            chunks.append(stream.clean(image.codestream(index)))
        elif fragments.extended_offsets is not None and last - first > 1:
            chunks.append(image.codestream(index))
        else:
            chunks += [image.pixels.fragment(number) for number in range(first, last)]
            sizes.append(last - first)
            continue
        sizes.append(1)
    extended = fragments.extended_offsets is not None
    pixels = NewPixels(
        image.pixels.tag, "OB", chunks, tuple(sizes), extended, offset_table=bool(fragments.offsets) or not image.table.tables_right
    )
    return Redacted(pixels, image.instance.transfer_syntax_uid, changes, method, {"before": before, "after": _digest(chunks)})


def _reencode(
    image: Image, areas: dict[int, list[Area]], before: str, method: str, paint: Paint = _NOTHING, regions: Sequence[Region] = ()
) -> Redacted:
    """Touched frames coded anew in the same lossless syntax, or all frames in the nearest one that is lossless."""
    codec, uid = _LOSSLESS[image.codec]
    changes = _changes(image, paint, regions) if areas else {}
    transform = _transform(image)
    try:
        if uid is None:
            wanted = [index for index in range(image.frames) if index in areas or _hides_in_values(image, index)]
            streams = {index: _encoded(image, index, areas, paint, codec, transform) for index in wanted}
            return _assemble(image, streams, before, method or "reencoded", changes)
        chunks: list[Buffer] = [_encoded(image, index, areas, paint, codec, transform) for index in range(image.frames)]
        pixels = NewPixels(image.pixels.tag, "OB", chunks, (1,) * image.frames)
        photometric = "YBR_RCT" if codec is Codec.JPEG_2000 and transform else _upsampled(image.photometric)
    except CannotEncode:
        uid = EXPLICIT_LITTLE
        chunks = [_filled(image, index, areas, paint).tobytes() for index in range(image.frames)]
        pixels = NewPixels(image.pixels.tag, "OW" if image.description.bits_allocated > 8 else "OB", chunks)
        photometric = _upsampled(image.photometric)
    changes |= _lossy_history(image)
    if photometric != image.photometric:
        changes["PhotometricInterpretation"] = photometric
    if image.samples == 3 and image.description.planar:
        changes["PlanarConfiguration"] = 0
    return Redacted(pixels, uid, changes, method or "to_lossless", {"before": before, "after": _digest(chunks)})


def _transform(image: Image) -> bool:
    """Whether new JPEG 2000 frames use the component transform: as the old ones do."""
    stream = image.stream(0)
    if image.samples != 3 or stream is None:
        return False
    return stream.colour_transform if stream.sof == 0 else False


def _upsampled(photometric: str) -> str:
    """The Photometric Interpretation of ``Image.frame``'s values."""
    if photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    if photometric == "YBR_FULL_422":
        return "YBR_FULL"
    if photometric.startswith("YBR_PARTIAL"):
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "partial-range YBR has no lossless form")
    return photometric


def _filled(image: Image, index: int, areas: dict[int, list[Area]], paint: Paint) -> np.ndarray[Any, Any]:
    values = image.frame(index)
    if index in areas:
        values = values.copy()
        for bright in (False, True):
            parts = [area for area in areas[index] if area.bright == bright]
            if parts:
                value = paint.of(parts[0]) if image.samples > 1 else paint.of(parts[0])[0]
                values[touched(parts, image.rows, image.columns)] = np.asarray(value).astype(values.dtype)
    return values


def _encoded(
    image: Image, index: int, areas: dict[int, list[Area]], paint: Paint, codec: Codec, transform: bool
) -> bytes:
    return encode(codec, _filled(image, index, areas, paint), image.description, transform)


def _lossy_history(image: Image) -> dict[str, Any]:
    """Once lossy, always lossy (PS3.3 C.7.6.1.1.5): marked also where the sender forgot to."""
    dataset = image.instance.dataset
    lossy = image.codec in _LOSSY_METHOD and not all(
        (stream := image.stream(index)) is not None and stream.lossless for index in range(image.frames)
    )
    if not lossy:
        return {}
    out: dict[str, Any] = {"LossyImageCompression": "01"}
    if not dataset.get("LossyImageCompressionMethod"):
        out["LossyImageCompressionMethod"] = _LOSSY_METHOD[image.codec]
    if not dataset.get("LossyImageCompressionRatio"):
        native_size = image.description.frame_values * image.frames * image.description.bits_allocated / 8
        coded = sum(map(len, _original(image.pixels)))
        out["LossyImageCompressionRatio"] = f"{max(native_size / max(coded, 1), 0.01):.4g}"
    return out


def _changes(image: Image, paint: Paint, regions: Sequence[Region]) -> dict[str, Any]:
    """Attributes that must say that pixels were changed (PS3.3 C.7.6.1.1.2 and C.7.6.3.1)."""
    dataset = image.instance.dataset
    out: dict[str, Any] = {}
    stamps = [region.stamp for region in regions if region.stamp is not None and region.verdict is Verdict.REDACT]
    if stamps:
        out["DerivationDescription"] = _STAMPED.format(", ".join(stamp.letter for stamp in stamps))
    try:
        kind = dataset.get("ImageType")
        values = [kind] if isinstance(kind, str) else [str(value) for value in kind or []]
        if values and values[0] != "DERIVED":
            out["ImageType"] = ["DERIVED", *values[1:]]
        if image.samples == 1 and not image.description.floating:
            value = int(paint.black[0])
            for keyword, outside in (("SmallestImagePixelValue", min), ("LargestImagePixelValue", max)):
                present = dataset.get(keyword)
                if isinstance(present, int) and outside(present, value) != present:
                    out[keyword] = value
    except Exception:  # noqa: BLE001  an attribute that cannot be read cannot be corrected; the tags room judges it
        return out
    return out | (_lossy_history(image) if image.codec in _LOSSY_METHOD else {})
