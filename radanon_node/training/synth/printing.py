"""Digital print: fonts and the ways in which consoles lay characters on a film."""

from __future__ import annotations

import numpy as np

from radanon_node.training.synth import glyphs
from radanon_node.training.synth.glyphs import Mask
from radanon_node.training.synth.sheet import Sheet


def pick_font(rng: np.random.Generator) -> str:
    """A scalable font of this machine, a plain one most of the time; empty for Pillow's own."""
    faces = glyphs.fonts()
    if not faces or rng.random() < 0.08:
        return ""
    sans = [f for f in faces if "Sans" in f and "Mono" not in f]
    return str(rng.choice(sans if sans and rng.random() < 0.75 else list(faces)))


def printed(sheet: Sheet, mask: Mask, x: float, y: float, item: int, rng: np.random.Generator, style: float) -> None:
    """Print `mask` at (x, y): outlined, plain, on a black or a white label, or black, as `style` (0..1) says."""
    if style < 0.4:
        # The outline alone can still be read: it belongs to the item.
        outline = max(mask.shape[0] // 14, 1)
        sheet.put(glyphs.grown(mask, outline), x - outline, y - outline, "black", item)
        sheet.put(mask, x, y, "white", item)
    elif style < 0.75:
        sheet.put(mask, x, y, "white", item)
    elif style < 0.85:
        pad = max(mask.shape[0] // 4, 2)
        sheet.put(np.ones((mask.shape[0] + 2 * pad, mask.shape[1] + 2 * pad), np.float32), x - pad, y - pad, "black", -1)
        sheet.put(mask, x, y, "white", item)
    elif style < 0.93:
        pad = max(mask.shape[0] // 4, 2)
        sheet.put(np.ones((mask.shape[0] + 2 * pad, mask.shape[1] + 2 * pad), np.float32), x - pad, y - pad, "white", item)
        sheet.put(mask, x, y, "black", item)
    else:
        sheet.put(mask, x, y, "black", item)
