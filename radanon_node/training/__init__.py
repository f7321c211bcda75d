"""Synthetic films, training, fine-tuning and evaluation; never imported by the node."""
