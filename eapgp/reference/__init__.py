"""Circuits found at any cost, as what attribution is measured against: learned edge masks, pruning by exact effect."""
