"""What is hidden by its encoding: UN, mis-typed VRs, private sequences, repeating groups, hidden groups, character sets."""

from __future__ import annotations

import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.instance import read_instance

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def explicit_long(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value) if length is None else length) + value


ITEM = 0xFFFEE000


def append(data: bytes, element: bytes) -> bytes:
    """A file with one more element at its end (higher tag than all before)."""
    return data + element


def test_a_public_sequence_that_comes_as_un_is_cleaned_inside(new_dataset, encode, run):
    inner = implicit(0x00081155, b"1.2.3.4.5.67") + implicit(0x00100010, b"Oyelaran^Temitope ")
    value = implicit(ITEM, inner)
    # View Code Sequence (0054,0220) is kept by the Basic Profile; written as UN of defined and of undefined length
    for element in (
        explicit_long(0x00540220, b"UN", value),
        explicit_long(0x00540220, b"UN", value + implicit(0xFFFEE0DD, b""), 0xFFFFFFFF),
    ):
        data = append(encode(new_dataset()), element)
        cleaned = run(data)
        assert b"Oyelaran" not in cleaned.data and b"1.2.3.4.5.67" not in cleaned.data


def test_a_public_sequence_as_un_that_cannot_be_parsed_is_held(new_dataset, encode, run):
    data = append(encode(new_dataset()), explicit_long(0x00540220, b"UN", b"\xfe\xff\x00\xe0\x99\x00\x00\x00Oyelaran"))
    with pytest.raises(HoldInstance) as held:
        run(data)
    assert held.value.reason is Reason.UNPARSABLE_DATASET


@pytest.mark.parametrize("vr", ["LO", "UT", "UN", "OB"])
def test_rules_go_by_tag_whatever_the_vr(new_dataset, run, vr):
    dataset = new_dataset()
    del dataset.PatientName
    value = b"Adeyemi^Folasade" if vr in ("UN", "OB") else "Adeyemi^Folasade"
    dataset.add_new(0x00100010, vr, value)
    dataset.add_new(0x00104000, vr, value)
    cleaned = run(dataset)
    assert b"deyemi" not in cleaned.data
    assert cleaned.after[0x00100010].VR == "PN" and 0x00104000 not in cleaned.after


def test_mistyped_kept_attribute_is_hunted(new_dataset, run):
    dataset = new_dataset()
    dataset.add_new(0x00180060, "LO", "Oyelaran 120")  # KVP, a DS by the dictionary
    cleaned = run(dataset)
    assert b"yelaran" not in cleaned.data and b"120" in cleaned.data


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_private_elements_go_at_every_depth(new_dataset, run, syntax):
    item = Dataset()
    item.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "Hidden Canary")
    inner = Dataset()
    inner.PatientName = "Hidden^Canary"
    dataset = new_dataset(ProcedureCodeSequence=Sequence([item]))
    dataset.private_block(0x0011, "ACME", create=True).add_new(2, "SQ", Sequence([inner]))
    cleaned = run(dataset, syntax=syntax)
    assert b"Canary" not in cleaned.data and b"ACME" not in cleaned.data


def test_curves_and_overlays_go_as_whole_groups(new_dataset, run):
    dataset = new_dataset()
    for group in (0x5000, 0x5012, 0x6000, 0x601E):
        dataset.add_new(group << 16 | 0x0022, "LO", "Canary label")
        dataset.add_new(group << 16 | 0x3000, "OW", b"Canary..")
    dataset.add_new(0x60001500, "LO", "Canary label")
    dataset.add_new(0x60000010, "US", 4)
    cleaned = run(dataset)
    assert b"Canary" not in cleaned.data
    assert not [tag for tag in cleaned.after.keys() if 0x5000 <= tag >> 16 <= 0x60FF]  # noqa: SIM118


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("tag", [0x7F000010, 0x7F220010, 0x7F000020, 0x7FE00020, 0x7FE00040, 0x00280020, 0x00189445])
def test_a_second_picture_and_numbers_without_a_name_go(new_dataset, run, tag, syntax):
    """Retired pixel data of other groups, coefficients of a picture, numbers that PS3.6 lists without saying what they are."""
    item, dataset = Dataset(), new_dataset()
    for level in (item, dataset):
        level.add_new(tag, "OW", b"Canary..")
    dataset.ProcedureCodeSequence = Sequence([item])
    assert b"Canary" not in run(dataset, syntax=syntax).data


def test_what_another_de_identifier_sealed_does_not_stay(new_dataset, run):
    """Encrypted Attributes Sequence holds the very attributes that were taken out, for whoever has the key (PS3.3 C.12.1.1.4.1)."""
    item = Dataset()
    item.EncryptedContentTransferSyntaxUID, item.EncryptedContent = EXPLICIT, b"Canary.."
    cleaned = run(new_dataset(EncryptedAttributesSequence=Sequence([item])))
    assert b"Canary" not in cleaned.data and "EncryptedAttributesSequence" not in cleaned.after


def test_group_lengths_directory_records_padding_signatures_and_icons_go(new_dataset, run):
    item = Dataset()
    item.Rows, item.Columns = 8, 8
    item.add_new(0x7FE00010, "OW", b"canary..")
    signature = Dataset()
    signature.add_new(0x04000120, "OB", b"canary..")
    dataset = new_dataset(IconImageSequence=Sequence([item]), DigitalSignaturesSequence=Sequence([signature]))
    dataset.add_new(0x00041500, "CS", ["CANARY"])
    dataset.add_new(0xFFFCFFFC, "OB", b"canary..")
    cleaned = run(dataset)
    assert b"canary" not in cleaned.data.lower()


def test_pixels_inside_a_kept_sequence_are_held(new_dataset, run):
    item = Dataset()
    item.add_new(0x7FE00010, "OW", bytes(8))
    with pytest.raises(HoldInstance) as held:
        run(new_dataset(ProcedureCodeSequence=Sequence([item])))
    assert held.value.reason is Reason.UNSUPPORTED_PIXELS


def test_sequences_nested_without_end_are_held(new_dataset, make_scrubber):
    dataset = level = new_dataset()
    for _ in range(60):
        item = Dataset()
        level.ContentSequence = Sequence([item])
        level.ConceptNameCodeSequence = Sequence([Dataset()])
        level = item
    from radanon_node.tags.engine import PixelFacts

    with pytest.raises(HoldInstance):
        make_scrubber("clean_structured_content").scrub(dataset, PixelFacts(False, False, False), EXPLICIT)


CHARACTER_SETS = [
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "山田", "肺野"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "길동", "흉부"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小东", "小东", "胸部"),
    ("GB18030", "Wang^XiaoDong=王^小东", "小东", "胸部"),
    ("ISO_IR 100", "Buc^Jérôme", "Jérôme", "Thorax à gauche"),
    ("ISO_IR 144", "Люкceмбypг^Иванович", "Иванович", "грудь"),
    ("ISO_IR 126", "Διονυσιος^Παπαδακης", "Διονυσιος", "θώρακας"),
]


@pytest.mark.parametrize(("charset", "name", "part", "harmless"), CHARACTER_SETS)
def test_names_go_and_text_stays_in_every_character_set(new_dataset, run, make_scrubber, charset, name, part, harmless):
    dataset = new_dataset(SpecificCharacterSet=charset)
    dataset.PatientName = name
    dataset.ImageComments = f"{harmless} {part} 1"
    dataset.DerivationDescription = harmless
    dataset.SegmentLabel = f"{part} {harmless}"  # no table speaks of it
    cleaned = run(dataset, make_scrubber("clean_descriptors"))
    after = cleaned.after
    assert harmless in str(after.ImageComments) and part not in str(after.ImageComments)
    assert str(after.DerivationDescription) == harmless
    assert harmless in str(after.SegmentLabel) and part not in str(after.SegmentLabel)
    assert cleaned.findings == []


@pytest.mark.parametrize(("charset", "name", "part", "harmless"), CHARACTER_SETS)
def test_the_second_look_reads_every_character_set(new_dataset, encode, charset, name, part, harmless):
    from radanon_node.tags.identifiers import collect
    from radanon_node.tags.search import find_identity

    dataset = new_dataset(SpecificCharacterSet=charset)
    dataset.PatientName = name
    identifiers = collect(read_instance(encode(dataset)).dataset)
    leak = new_dataset(SpecificCharacterSet=charset, ImageComments=f"{harmless} {part}")
    leak.PatientName = "Anonymized"
    leak.PatientID = "X"
    assert "name" in {finding.kind for finding in find_identity(encode(leak), [], identifiers)}


def test_bytes_of_no_declared_character_set_become_ascii(new_dataset, run):
    dataset = new_dataset()
    dataset.add_new(0x00081090, "LO", "x")
    dataset["ManufacturerModelName"]._value = "Röntgen"
    data = run(new_dataset(ManufacturerModelName="R?ntgen")).data
    broken = data.replace(b"R?ntgen", b"R\xf6ntgen")
    assert run(broken).after.ManufacturerModelName == "Rontgen"


def test_an_item_may_have_a_character_set_of_its_own(new_dataset, run):
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    item.CodeMeaning = "胸部 Oyelaran"
    dataset = new_dataset(SpecificCharacterSet="ISO_IR 100", AnatomicRegionSequence=Sequence([item]))
    assert run(dataset).after.AnatomicRegionSequence[0].CodeMeaning == "胸部"


def test_a_name_that_comes_as_a_sequence_is_still_a_name(new_dataset, run):
    item = Dataset()
    item.CodeMeaning = "Adeyemi"
    dataset = new_dataset()
    for tag in (0x00100010, 0x00080090, 0x00080020, 0x00104000, 0x0020000D):
        if tag in dataset:
            del dataset[tag]
        dataset.add_new(tag, "SQ", Sequence([item]))
    cleaned = run(dataset)
    assert b"Adeyemi" not in cleaned.data
    assert cleaned.after[0x00100010].VR == "PN" and cleaned.after[0x00080020].VR == "DA" and cleaned.after[0x0020000D].VR == "UI"


def test_a_date_that_comes_as_text_is_moved(new_dataset, run, make_scrubber):
    dataset = new_dataset()
    dataset.add_new(0x00080021, "LO", "20240305")
    after = run(dataset, make_scrubber("retain_longitudinal_modified_dates")).after
    assert after[0x00080021].VR == "DA" and after.SeriesDate not in ("", "20240305")
