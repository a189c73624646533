"""Makers of what is bundled with the project or stands in docs/; run from a checkout, no part of the wheel."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
