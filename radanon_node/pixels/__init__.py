"""Frames: decode, view, redact, encode, prove."""
