"""The settings of a run, and the panel that asks for it."""
