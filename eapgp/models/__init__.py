"""Models: the catalogue, loading, and one view of every supported architecture."""

from eapgp.models.catalogue import CATALOGUE, ModelEntry, find_model
from eapgp.models.load import load_model
from eapgp.models.model import Model

__all__ = ["CATALOGUE", "Model", "ModelEntry", "find_model", "load_model"]
