"""``radanon synthesize``: draw films with markers, or screens with printed text, with exact labels and ink masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from radanon_node.errors import EXIT_OK, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="folder for films/, masks/ and labels.jsonl")
    parser.add_argument("--count", type=int, default=20, help="films to draw")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same films")
    parser.add_argument("--rows", type=int, help="height; default: 400 to 3,000, drawn")
    parser.add_argument("--columns", type=int, help="width; default: 0.7 to 1.2 of the height")
    parser.add_argument("--modality", metavar="M", help="draw screens of this modality (US, CT, MR, XA, SC, OT ...) instead of films")
    parser.add_argument("--grounds", type=Path, help="folder of marker-free films (PNG, JPEG) to draw on")


def run(args: argparse.Namespace) -> int:
    """Draw and write."""
    if args.modality:
        return _screens(args)
    return _films(args)


def _screens(args: argparse.Namespace) -> int:
    import json

    import cv2
    import numpy as np

    from radanon_node.training.screen_grounds import SIZES
    from radanon_node.training.screens import ink_mask, make_screen

    if args.modality not in SIZES:
        raise ConfigError(f"--modality: must be one of {', '.join(sorted(SIZES))}")
    if args.rows or args.columns or args.grounds:
        raise ConfigError("--rows, --columns and --grounds: are for films, not for --modality")
    for folder in ("screens", "masks"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    with (args.out / "labels.jsonl").open("w") as labels:
        for number in range(args.count):
            screen = make_screen(args.modality, np.random.default_rng((args.seed, number)))
            name = f"{args.modality}-{args.seed}-{number:05}.png"
            cv2.imwrite(str(args.out / "screens" / name), screen.pixels)
            cv2.imwrite(str(args.out / "masks" / name), ink_mask(screen))
            items = [{"bbox": [one.box.x0, one.box.y0, one.box.x1, one.box.y1], "text": one.text, "identity": one.identity,
                      "size": one.size, "contrast": round(one.contrast, 1), "tilt": round(one.tilt, 1)} for one in screen.texts]
            labels.write(json.dumps({"image": f"screens/{name}", "modality": args.modality, "items": items}) + "\n")
    print(f"{args.count} {args.modality} screens with labels.jsonl and ink masks (0 nothing, 1 identity, 2 harmless) in {args.out}; "
          "all identities are made up")
    return EXIT_OK


def _films(args: argparse.Namespace) -> int:
    import json

    import cv2
    import numpy as np

    from radanon_node.training.films import read_image
    from radanon_node.training.synth.film import synthesize
    from radanon_node.training.synth.markers import CLASSES

    grounds = sorted(p for p in args.grounds.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")) if args.grounds else []
    if args.grounds and not grounds:
        raise ConfigError("synthesize: no PNG or JPEG in --grounds")
    (args.out / "films").mkdir(parents=True, exist_ok=True)
    (args.out / "masks").mkdir(parents=True, exist_ok=True)
    with (args.out / "labels.jsonl").open("w") as labels:
        for number in range(args.count):
            rng = np.random.default_rng((args.seed, number))
            rows = args.rows or int(np.exp(rng.uniform(np.log(400), np.log(3000))))
            columns = args.columns or int(rows * rng.uniform(0.7, 1.2))
            ground = read_image(grounds[int(rng.integers(0, len(grounds)))]) if grounds else None
            film = synthesize((rows, columns), rng, ground)
            name = f"{args.seed}-{number:05}.png"
            cv2.imwrite(str(args.out / "films" / name), film.image)
            cv2.imwrite(str(args.out / "masks" / name), film.ink)
            items = [{"bbox": [i.x0, i.y0, i.x1, i.y1], "kind": CLASSES[i.label] if i.label >= 0 else "unknown"} for i in film.items]
            labels.write(json.dumps({"image": f"films/{name}", "items": items}) + "\n")
    values = ", ".join(f"{k + 1} {c}" for k, c in enumerate(CLASSES))
    print(f"{args.count} films with labels.jsonl and ink masks (0 nothing, {values}) in {args.out}")
    return EXIT_OK
