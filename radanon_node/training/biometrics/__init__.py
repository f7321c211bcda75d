"""Training and honest evaluation of the deformation field; never imported by the node."""
