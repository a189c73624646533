"""The page on which a sentence of one's own becomes a pair, a circuit and a task."""
