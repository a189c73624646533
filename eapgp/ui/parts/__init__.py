"""Pieces that several pages put together."""
