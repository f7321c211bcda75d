"""The commands of `radanon`, one module each."""
