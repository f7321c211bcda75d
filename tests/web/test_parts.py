"""Labels, charts and hidden settings."""

from __future__ import annotations

import pytest

from radanon_node import config as configuration
from radanon_node.web.charts import chart, number, seconds_text, size_text
from radanon_node.web.labels import boxes_of_text, labels_of
from radanon_node.web.masked import masked


def box(left: int, kind: str = "text", verdict: str = "redact", source: str = "marker_model") -> dict[str, object]:
    return {"box": [left, 10, left + 40, 50], "frames": "all", "kind": kind, "verdict": verdict, "confidence": 0.9, "source": source,
            "why": "x"}  # fmt: skip


def test_labels_are_what_finetune_takes() -> None:
    found = [box(0), box(100, "side_letter", "keep"), box(200, "symbol"), box(300, source="device_rule"), box(400, "banner")]
    edits = {"added": [{"box": [500, 10, 520, 30], "frames": [2], "kind": "symbol"}],
             "removed": [{"box": [200, 10, 240, 50], "frames": "all", "kind": "symbol"}]}  # fmt: skip
    labels = labels_of(found, edits, 3)
    assert [(label["kind"], label["frame"]) for label in labels] == [
        ("text", 0), ("side_letter", 0), ("not_a_marker", 0), ("text", 0), ("symbol", 2)]
    assert labels[0]["bbox"] == [3, 13, 37, 47] and labels[1]["bbox"] == [100, 10, 140, 50] and labels[4]["bbox"] == [500, 10, 520, 30]


def test_every_label_is_known_to_finetune() -> None:
    from radanon_node.training.films import class_of

    for kind in ("text", "side_letter", "symbol", "banner"):
        for label in labels_of([box(0, kind)], None, 3):
            class_of(label["kind"])
    class_of("not_a_marker")


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 x", "1 2 3 4 5 6", "-1 2 3 4"])
def test_a_typed_box_is_four_numbers(text: str) -> None:
    with pytest.raises(ValueError):
        boxes_of_text(text)
    assert [one["kind"] for one in boxes_of_text("1,2,3,4\n\n 5 6 7 8 symbol")] == ["text", "symbol"]
    assert [one["frames"] for one in boxes_of_text("1 2 3 4 2\n1 2 3 4 symbol 3-5\n1 2 3 4 2-2 banner")] == [[1], [2, 3, 4], [1]]


def test_a_chart_says_in_words_what_it_shows_and_escapes_names() -> None:
    drawn = chart("Instances <per> minute", [0, 60, 120], {'a "b"': [1, 5, 2], "c": [0, 0, 0]})
    assert "now 2, most 5" in drawn and "<per>" not in drawn and 'a "b"' not in drawn.split("<ul")[0].split("points")[0]
    assert drawn.count("<polyline") == 2 and "stroke-dasharray" in drawn
    assert "No figures yet" in chart("x", [0], {"a": [1]})


def test_figures_for_people() -> None:
    assert [number(n) for n in (0, 1234, 123_456, 1.25)] == ["0", "1,234", "123k", "1.2"]
    assert [seconds_text(s) for s in (4, 200, 7300, 200_000)] == ["4 s", "3 min", "2.0 h", "2.3 d"]
    assert [size_text(n) for n in (5, 2048, 3 * 2**30, 5 * 2**40)] == ["5 B", "2.0 KiB", "3.0 GiB", "5.0 TiB"]


def test_no_secret_is_shown() -> None:
    config = configuration.parse({
        "routes": [{"ae_title": "IN", "profile": "p", "destinations": ["a"]}], "profiles": {"p": {}},
        "destinations": {"a": {"directory": "/out"}},
        "ledger": {"url": "postgresql+psycopg://node:hunter2@db/ledger?password=hunter3&sslmode=require"},
        "web": {"auth": [{"name": "anna", "password_hash": "scrypt$2$8$1$hunter4$hunter4"}]},
    })  # fmt: skip
    text = masked(config)
    assert "hunter" not in text and "db/ledger" in text and "sslmode=require" in text and "key_file" in text
