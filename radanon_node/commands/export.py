"""``radanon export``: a YOLOv5 checkpoint to the files the node loads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from radanon_node.errors import EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "checkpoint", type=Path, help="a run's best.pt, or a checkpoint of the yolov5 package with the three marker classes"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.onnx, NAME.pt and NAME.json")
    parser.add_argument("--name", default="markers")
    parser.add_argument("--threshold", type=float, default=0.1, help="confidence floor of all classes, unless --card has `thresholds`")
    parser.add_argument("--input-size", type=int, default=1024, help="long side that films are scaled to")
    parser.add_argument("--card", type=Path, help="JSON with more to put into the description (thresholds, recipe, figures)")


def run(args: argparse.Namespace) -> int:
    """Export and print the configuration lines that name the result."""
    from radanon_node.training.export import digest, export
    from radanon_node.training.synth.markers import CLASSES

    card = json.loads(args.card.read_text()) if args.card else {}
    thresholds = card.pop("thresholds", dict.fromkeys(CLASSES, args.threshold))
    onnx = export(args.checkpoint, args.out, thresholds=thresholds, input_size=args.input_size, name=args.name, card=card)
    print(f"worker:\n  weights: {onnx}\n  weights_sha256: {digest(onnx)}")
    return EXIT_OK
