"""What travels between the stages, the cleaning core and the worker that runs it."""
