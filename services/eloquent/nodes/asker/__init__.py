"""The asker: one question by several schemes, for the board's chat."""
