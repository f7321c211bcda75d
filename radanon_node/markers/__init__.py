"""Finding burnt-in markers and text, and judging what may stay."""
