"""What humans are shown is what the engine does."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.pixels.instance import read_instance
from radanon_node.settings_profile import TagSettings
from radanon_node.tags.describe import policy_lines, render_documentation, render_policy, summarize
from radanon_node.tags.tables import profile_rows

PAGE = Path(__file__).parents[2] / "docs" / "de-identification.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == render_documentation(), "run scripts/generate_tag_docs.py"


def test_the_table_shows_options_and_site_rules():
    settings = TagSettings(
        options=("clean_descriptors",),
        retain=("StudyDescription", "RequestAttributesSequence/ScheduledProcedureStepID"),
        remove=("Manufacturer",),
    )
    lines = {(line.name, line.action) for line in policy_lines(settings)}
    assert ("Study Description", "K") in lines and ("Series Description", "C") in lines and ("Study Date", "Z") in lines
    assert ("Manufacturer", "X") in lines and ("RequestAttributesSequence/ScheduledProcedureStepID", "K") in lines
    assert len(lines) >= len(profile_rows())
    assert "| (0008,1030) | Study Description | K | site retain: StudyDescription |" in render_policy(settings)


def test_explain_tells_every_elements_fate_and_no_value(new_dataset, encode, make_scrubber):
    item = Dataset()
    item.CodeMeaning, item.PatientName = "Secret meaning", "Secret^Name"
    dataset = new_dataset(StudyDate="20240305", StudyDescription="Secret", PerformedProcedureCodeSequence=Sequence([item]))
    dataset.private_block(0x0009, "SECRET", create=True).add_new(1, "LO", "Secret")
    instance = read_instance(encode(dataset))
    fates = make_scrubber().explain(instance.dataset)
    by_name = {(fate.path, fate.keyword): fate for fate in fates}
    assert by_name["", "StudyDate"].action == "Z" and "E.1-1 basic: Z" in by_name["", "StudyDate"].rule
    assert by_name["", "StudyDescription"].action == "X"
    assert by_name["PerformedProcedureCodeSequence[0]", "PatientName"].action == "Z"
    assert by_name["", "(0009,1001)"].action == "X"
    assert len(fates) == len(dataset) + 2
    assert "secret" not in repr(fates).lower()


def test_what_explain_says_is_what_scrub_does(new_dataset, run, make_scrubber):
    dataset = new_dataset(StudyDate="20240305", StudyDescription="Head", SliceThickness="5", AccessionNumber="A12345", OperatorsName="A^B")
    scrubber = make_scrubber("clean_descriptors")
    cleaned = run(dataset, scrubber)
    for fate in scrubber.explain(cleaned.before):
        present = fate.tag in cleaned.after
        assert present == (fate.action != "X"), fate
        if fate.action == "K":
            assert cleaned.after[fate.tag] == cleaned.before[fate.tag]
        elif fate.action == "Z" and fate.tag not in (0x00100010, 0x00100020):
            assert not cleaned.after[fate.tag].value


def test_a_dry_run_over_many_objects_counts(new_dataset, encode, make_scrubber):
    scrubber = make_scrubber()
    fates = [scrubber.explain(read_instance(encode(new_dataset(StudyDescription=f"S{number}"))).dataset) for number in range(3)]
    table = summarize(fates)
    assert ("", "StudyDescription", "X", "E.1-1 basic: X", 3) in table
