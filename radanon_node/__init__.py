"""radanon_node: a DICOM node that takes identity out of radiographs on their way to a research archive."""

__version__ = "0.1.0"
