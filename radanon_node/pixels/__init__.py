"""Frames: decode, view, redact, encode, prove."""

from radanon_node.lean import require_decoders

require_decoders()  # a process that left them out is told now, not by its first compressed picture
