"""The page Ground truth."""
