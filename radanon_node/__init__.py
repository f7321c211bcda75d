"""radanon_node: a DICOM node that takes identity out of radiographs on their way to a research archive."""

__version__ = "0.1.0"

# PS3.7 D.3.3.2 and PS3.10 7.1: who we say we are in associations and files. A UUID-derived UID (PS3.5 B.2), the same for all versions.
IMPLEMENTATION_CLASS_UID = "2.25.123782356629245101804428769705283320404"
IMPLEMENTATION_VERSION_NAME = f"RADANON_{__version__}"[:16]
