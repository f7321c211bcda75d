"""``radanon evaluate``: the paper's table for marker weights on labelled or drawn films, and figures of the text pass on screens."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from radanon_node.errors import EXIT_OK, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--labels", type=Path, help="labelled films: .jsonl, COCO or LabelMe .json, folder of LabelMe or YOLO files; DICOM or pictures"
    )
    parser.add_argument("--films", type=Path, help="folder of the films, if not beside the labels")
    parser.add_argument("--split", default="val", help="of films that name a split only this one is judged; `all` for every film")
    parser.add_argument("--drawn", type=int, default=0, metavar="N", help="judge N drawn films instead or too")
    parser.add_argument("--seed", type=int, default=900, help="of the drawn films or screens")
    parser.add_argument("--screens", type=int, default=0, metavar="N", help="judge the text pass on N drawn screens per modality")
    parser.add_argument("--modality", action="append", metavar="M", help="of --screens: only this one (may be repeated)")
    parser.add_argument(
        "--weights",
        type=Path,
        action="append",
        default=[],
        help="weights (.onnx with its .json); several are compared; default: the packaged ones",
    )
    parser.add_argument(
        "--retain", default="L,R", help="letters that may stay, comma-separated; `none` for none; `off` leaves the retention pass out"
    )
    parser.add_argument(
        "--through-node", action="store_true", help="send every film through the whole node as DICOM and judge what leaves it"
    )
    parser.add_argument("--threshold", type=float, help="confidence floor instead of the weights' own")
    parser.add_argument("--calibrate", action="store_true", help="also print misses and false boxes at each floor, and the cheapest floor")
    parser.add_argument("--failures", type=Path, help="folder for pictures of every failure")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print one table per weights file and set of films."""
    if args.screens:
        _screens(args)
        if not (args.labels or args.drawn):
            return EXIT_OK
    from radanon_node.markers.detector import MarkerDetector
    from radanon_node.training.evaluate import Montage, calibrate, drawn_subjects, evaluate, real_subjects
    from radanon_node.training.export import digest
    from radanon_node.training.films import read_labels
    from radanon_node.training.synth.markers import CLASSES

    sets = {}
    if args.labels:
        films = [f for f in read_labels(args.labels, args.films) if args.split == "all" or f.split in ("", args.split)]
        sets["labelled"] = list(real_subjects(films))
    if args.drawn:
        sets["drawn"] = list(drawn_subjects(args.drawn, args.seed))
    if not sets:
        raise ConfigError("evaluate: needs --labels or --drawn")
    retain = None if args.retain == "off" else [] if args.retain == "none" else args.retain.split(",")
    found: dict[str, dict[str, object]] = {}
    for weights in args.weights or [None]:
        detector = MarkerDetector.load(weights, digest(weights) if weights else None, "cpu", args.threads)
        thresholds = dict.fromkeys(CLASSES, args.threshold) if args.threshold else None
        for name, subjects in sets.items():
            key = f"{weights.name if weights else 'packaged weights'}, {name} films"
            montage = Montage(args.failures / name) if args.failures else None
            core = None
            if args.through_node:
                from radanon_node.training.through_node import CleaningCore

                core = CleaningCore(weights, digest(weights) if weights else None, retain or (), args.threads).blackened
            report = evaluate(detector, subjects, retain=retain, thresholds=thresholds, core=core, on_film=montage)
            found[key] = report.figures()
            if not args.json:
                print(f"\n{key}\n\n{report.table()}")
            if montage:
                for path in montage.write():
                    print(f"failures: {path}")
            if args.calibrate:
                floor, curve = calibrate(detector, subjects)
                print("\nfloor  missed  false boxes")
                print("\n".join(f"{f:5.2f}  {missed:6}  {false:6}" for f, missed, false in curve))
                print(f"cheapest floor: {floor:.2f}")
    if args.json:
        print(json.dumps(found, indent=1))
    return EXIT_OK


def _screens(args: argparse.Namespace) -> None:
    from radanon_node.markers.text import TextDetector
    from radanon_node.training.screen_grounds import SIZES
    from radanon_node.training.screen_scores import failure_pictures, score

    unknown = set(args.modality or ()) - set(SIZES)
    if unknown:
        raise ConfigError(f"--modality: must be one of {', '.join(sorted(SIZES))}")
    scores = score(TextDetector.load(args.threads), args.modality or sorted(SIZES), args.screens, args.seed,
                   failure_pictures(args.failures / "screens") if args.failures else None)
    print(json.dumps(scores.figures(), indent=1) if args.json else scores.table())
