"""Transfer syntaxes (PS3.5 Section 10 and Annex A, PS3.6 Table A-1): how the data set is written and how frames are coded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from radanon_node.errors import HoldInstance, Reason


class Codec(StrEnum):
    """How one frame is coded. ``VIDEO`` and ``UNSUPPORTED`` have no decoder here."""

    NATIVE = "native"
    RLE = "rle"
    JPEG = "jpeg"  # DCT based, lossy
    JPEG_LOSSLESS = "jpeg_lossless"
    JPEG_LS = "jpeg_ls"
    JPEG_LS_LOSSY = "jpeg_ls_lossy"
    JPEG_2000 = "jpeg_2000"  # lossless only
    JPEG_2000_LOSSY = "jpeg_2000_lossy"
    HTJ2K = "htj2k"
    HTJ2K_LOSSY = "htj2k_lossy"
    DEFLATED_FRAMES = "deflated_frames"
    VIDEO = "video"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One row of the table.

    Parameters
    ----------
    uid, name : str
    codec : Codec
    implicit_vr, little_endian, deflated : bool
        Of the data set. Encapsulated syntaxes are explicit VR little endian (PS3.5 A.4).
    """

    uid: str
    name: str
    codec: Codec
    implicit_vr: bool = False
    little_endian: bool = True
    deflated: bool = False

    @property
    def encapsulated(self) -> bool:
        return self.codec is not Codec.NATIVE


IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_LOSSY = "1.2.840.10008.1.2.4.81"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.91"
RLE = "1.2.840.10008.1.2.5"

_ROWS = [
    TransferSyntax(IMPLICIT_LITTLE, "Implicit VR Little Endian", Codec.NATIVE, implicit_vr=True),
    TransferSyntax(EXPLICIT_LITTLE, "Explicit VR Little Endian", Codec.NATIVE),
    TransferSyntax(DEFLATED_LITTLE, "Deflated Explicit VR Little Endian", Codec.NATIVE, deflated=True),
    TransferSyntax(EXPLICIT_BIG, "Explicit VR Big Endian", Codec.NATIVE, little_endian=False),
    TransferSyntax("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed Explicit VR Little Endian", Codec.UNSUPPORTED),
    TransferSyntax(DEFLATED_FRAMES, "Deflated Image Frame Compression", Codec.DEFLATED_FRAMES),
    TransferSyntax(JPEG_BASELINE, "JPEG Baseline (Process 1)", Codec.JPEG),
    TransferSyntax(JPEG_EXTENDED, "JPEG Extended (Process 2 and 4)", Codec.JPEG),
    *(
        TransferSyntax(f"1.2.840.10008.1.2.4.{number}", f"JPEG process of the retired syntax .{number}", Codec.UNSUPPORTED)
        for number in (52, 58, 59, 60, 61, 62, 63, 64, 65, 66)
    ),
    *(
        TransferSyntax(f"1.2.840.10008.1.2.4.{number}", f"JPEG progressive process of the retired syntax .{number}", Codec.JPEG)
        for number in (53, 54, 55, 56)
    ),
    TransferSyntax(JPEG_LOSSLESS, "JPEG Lossless, Non-Hierarchical (Process 14)", Codec.JPEG_LOSSLESS),
    TransferSyntax(JPEG_LOSSLESS_SV1, "JPEG Lossless, First-Order Prediction", Codec.JPEG_LOSSLESS),
    TransferSyntax(JPEG_LS, "JPEG-LS Lossless", Codec.JPEG_LS),
    TransferSyntax(JPEG_LS_LOSSY, "JPEG-LS Lossy (Near-Lossless)", Codec.JPEG_LS_LOSSY),
    TransferSyntax(JPEG_2000, "JPEG 2000 (Lossless Only)", Codec.JPEG_2000),
    TransferSyntax(JPEG_2000_LOSSY, "JPEG 2000", Codec.JPEG_2000_LOSSY),
    TransferSyntax("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Multi-component (Lossless Only)", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2 Multi-component", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.94", "JPIP Referenced", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", Codec.UNSUPPORTED, deflated=True),
    *(
        TransferSyntax(f"1.2.840.10008.1.2.4.{number}", "MPEG or HEVC video", Codec.VIDEO)
        for number in (
            "100", "100.1", "101", "101.1", "102", "102.1", "103", "103.1", "104", "104.1", "105", "105.1", "106", "106.1", "107", "108",
        )
    ),
    TransferSyntax("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.112", "JPEG XL", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 (Lossless Only)", Codec.HTJ2K),
    TransferSyntax("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 with RPCL (Lossless Only)", Codec.HTJ2K),
    TransferSyntax("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", Codec.HTJ2K_LOSSY),
    TransferSyntax("1.2.840.10008.1.2.4.204", "JPIP HTJ2K Referenced", Codec.UNSUPPORTED),
    TransferSyntax("1.2.840.10008.1.2.4.205", "JPIP HTJ2K Referenced Deflate", Codec.UNSUPPORTED, deflated=True),
    TransferSyntax(RLE, "RLE Lossless", Codec.RLE),
    TransferSyntax("1.2.840.10008.1.2.7.1", "SMPTE ST 2110-20 Progressive", Codec.VIDEO),
    TransferSyntax("1.2.840.10008.1.2.7.2", "SMPTE ST 2110-20 Interlaced", Codec.VIDEO),
    TransferSyntax("1.2.840.10008.1.2.7.3", "SMPTE ST 2110-30 PCM", Codec.VIDEO),
]
TRANSFER_SYNTAXES: dict[str, TransferSyntax] = {row.uid: row for row in _ROWS}


def transfer_syntax(uid: str) -> TransferSyntax:
    """The row of `uid`.

    Raises
    ------
    HoldInstance
        ``unknown_transfer_syntax``.
    """
    try:
        return TRANSFER_SYNTAXES[uid]
    except KeyError:
        raise HoldInstance(Reason.UNKNOWN_TRANSFER_SYNTAX, "a transfer syntax that is not in the table") from None
