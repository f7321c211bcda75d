"""``radanon review``: what reviewers decided, and the films they marked as labels written out for ``radanon finetune``."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from radanon_node.commands.common import add_config_argument, load_config, print_json, print_rows, warn
from radanon_node.errors import EXIT_OK, EXIT_QUARANTINED, ConfigError, RadanonError
from radanon_node.ledger.reviews import ReviewEntry
from radanon_node.ledger.spool import Spool
from radanon_node.store import open_store

_COLUMNS = ("id", "at", "who", "instance_id", "source", "decision", "code", "note", "labels", "rule")
_MOST = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    listing = acts.add_parser("list", help="decisions of reviewers, with their reasons")
    export = acts.add_parser("export", help="write films marked as labels, and labels.jsonl, for `radanon finetune`: pictures of originals")
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new or empty folder; made for your user alone")
    export.add_argument("--reason", required=True, help="why originals are written out; goes into the audit trail")
    rules = acts.add_parser("rules", help="device rules that reviewers proposed, as YAML")
    bounds = acts.add_parser("bounds", help="upper bounds of residual identity per device and month")
    for act in (listing, export, rules, bounds):
        add_config_argument(act)
        act.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Show decisions, or write out what they teach."""
    config = load_config(args.config)
    ledger, spool = open_store(config)
    try:
        if args.act == "bounds":
            rows = [asdict(row) for row in ledger.residual_bounds(config.sampling.level)]
            _show(rows, tuple(rows[0]) if rows else (), args.json)
            return EXIT_OK
        entries = ledger.reviews_list(_MOST)
        if args.act == "export":
            return _export(entries, spool, args, ledger)
        if args.act == "rules":
            rules = [f"# review {entry.id}, instance {entry.instance_id}\n{entry.rule}" for entry in entries if entry.rule]
            print("---\n".join(rules), end="")
            return EXIT_OK
        _show([{**asdict(entry), "labels": len(entry.labels), "rule": bool(entry.rule)} for entry in entries], _COLUMNS, args.json)
        return EXIT_OK
    finally:
        ledger.close()
        spool.close()


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        print_json([{name: row[name] for name in columns} for row in rows])
    else:
        print_rows(columns, [[str(row[name]) for name in columns] for row in rows])


def _export(entries: list[ReviewEntry], spool: Spool, args: argparse.Namespace, ledger: Any) -> int:
    """Films as PNG, one per labelled frame, and ``labels.jsonl``; of several decisions about an instance the last counts."""
    marked = {entry.instance_id: entry for entry in entries if entry.labels}
    kept = [entry for entry in marked.values() if entry.file]
    if not kept:
        raise ConfigError("review export: no original that was marked as a label is kept any more (sampling.keep_labels)")
    out: Path = args.out
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out: {out.name}: must be a new or empty folder")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    out.chmod(0o700)
    ledger.labels_exported([entry.id for entry in kept], getpass.getuser(), args.reason)
    lines: list[str] = []
    failed = 0
    for entry in kept:
        try:
            lines += _films(entry, spool, out)
        except RadanonError as error:
            failed += 1
            warn(f"review {entry.id}: left out: {error}")
    _write(out / "labels.jsonl", ("\n".join(lines) + "\n").encode())
    print(f"{len(lines)} films with {sum(len(json.loads(line)['items']) for line in lines)} labels in {out}. They show originals: "
          f"keep them as such.\n\nradanon finetune {out} {out / 'labels.jsonl'} --out NEW_WEIGHTS")
    return EXIT_QUARANTINED if failed else EXIT_OK


def _films(entry: ReviewEntry, spool: Spool, out: Path) -> list[str]:
    import cv2

    from radanon_node.pixels.codec import open_image
    from radanon_node.pixels.instance import read_instance
    from radanon_node.pixels.view import views

    lines = []
    with spool.open(entry.file) as opened:
        image = open_image(read_instance(opened.data))
        for frame in sorted({int(label["frame"]) for label in entry.labels}):
            if frame >= image.frames:
                continue
            name = f"review-{entry.id}-{frame + 1}.png"
            done, encoded = cv2.imencode(".png", views(image, frame)[0])
            if not done:
                raise RadanonError("the PNG encoder refused the picture")
            _write(out / name, bytes(encoded))
            items = [{"bbox": label["bbox"], "kind": label["kind"]} for label in entry.labels if label["frame"] == frame]
            lines.append(json.dumps({"image": name, "split": "", "items": items}))
    return lines


def _write(path: Path, data: bytes) -> None:
    """For this user alone: what is written shows originals."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
