"""``radanon evaluate``: the paper's table for marker weights on labelled or drawn films, and figures of the text pass on screens."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
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
    parser.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="NAME",
        help="judge the labelled films also turned, inverted, framed ...: a name, may be repeated, or `all`; one line each",
    )
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
    from radanon_node.training.evaluate import Montage, Report, Subject, calibrate, drawn_subjects, evaluate, overview, real_subjects, seen
    from radanon_node.training.export import digest
    from radanon_node.training.films import read_labels
    from radanon_node.training.synth.markers import CLASSES
    from radanon_node.training.views import VIEWS

    views = list(VIEWS) if "all" in args.view else args.view
    if wrong := sorted(set(views) - set(VIEWS)):
        raise ConfigError(f"--view {wrong[0]}: must be `all` or one of {', '.join(VIEWS)}")
    if views and not args.labels:
        raise ConfigError("--view: needs --labels")
    sets: dict[str, Callable[[], Iterable[Subject]]] = {}
    if args.labels:
        films = [f for f in read_labels(args.labels, args.films) if args.split == "all" or f.split in ("", args.split)]
        real = list(real_subjects(films))
        sets["labelled"] = lambda: real
        # Made one by one when it is their turn: all views of all films would fill the memory.
        sets.update({view: partial(seen, real, view) for view in views})
    if args.drawn:
        drawn = list(drawn_subjects(args.drawn, args.seed))
        sets["drawn"] = lambda: drawn
    if not sets:
        raise ConfigError("evaluate: needs --labels or --drawn")
    retain = None if args.retain == "off" else [] if args.retain == "none" else args.retain.split(",")
    found: dict[str, dict[str, object]] = {}
    for weights in args.weights or [None]:
        detector = MarkerDetector.load(weights, digest(weights) if weights else None, "cpu", args.threads)
        reports: dict[str, Report] = {}
        thresholds = dict.fromkeys(CLASSES, args.threshold) if args.threshold else None
        for name, subjects in sets.items():
            key = f"{weights.name if weights else 'packaged weights'}, {name} films"
            montage = Montage(args.failures / name) if args.failures else None
            core = None
            if args.through_node:
                from radanon_node.training.through_node import CleaningCore

                core = CleaningCore(weights, digest(weights) if weights else None, retain or (), args.threads).blackened
            report = evaluate(detector, subjects(), retain=retain, thresholds=thresholds, core=core, on_film=montage)
            found[key], reports[name] = report.figures(), report
            if not (args.json or views):
                print(f"\n{key}\n\n{report.table()}")
            if montage:
                for path in montage.write():
                    print(f"failures: {path}", file=sys.stderr)
            if args.calibrate and not args.json:
                floor, curve = calibrate(detector, list(subjects()))
                print("\nfloor  missed  false boxes")
                print("\n".join(f"{f:5.2f}  {missed:6}  {false:6}" for f, missed, false in curve))
                print(f"cheapest floor: {floor:.2f}")
        if views and not args.json:
            print(f"\n{weights.name if weights else 'packaged weights'}\n\n{overview(reports)}")
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
