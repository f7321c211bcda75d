"""Synthetic films: procedural anatomy, markers of all makes, hard negatives, exact labels."""
