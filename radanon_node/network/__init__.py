"""DICOM edges: Storage SCP, streaming receive, Storage SCU, Storage Commitment, TLS."""
