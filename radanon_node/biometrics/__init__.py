"""Anonymisation of the anatomy of chest films: a learned deformation field, or differentially private pixelisation."""
