"""The public names and where they lie: read by type checkers, and by lazy_loader when a name is first used."""

from .attribution.api import attribute as attribute
from .attribution.per_position import span_scores as span_scores
from .attribution.registry import METHODS as METHODS
from .attribution.result import Attribution as Attribution
from .attribution.result import EdgeScores as EdgeScores
from .attribution.result import PathRecord as PathRecord
from .circuits.circuit import Circuit as Circuit
from .circuits.circuit import prune as prune
from .circuits.mechanisms import cluster_pairs as cluster_pairs
from .circuits.select import select as select
from .circuits.spans import select_spans as select_spans
from .errors import EapgpError as EapgpError
from .evaluation.agreement import agreement as agreement
from .evaluation.curves import faithfulness_curve as faithfulness_curve
from .evaluation.curves import mib_curve as mib_curve
from .evaluation.curves import node_curve as node_curve
from .evaluation.runner import CircuitRunner as CircuitRunner
from .figures.notebook import faithfulness_figure as faithfulness_figure
from .figures.notebook import show as show
from .figures.print import save_figure as save_figure
from .figures.print_circuit import circuit_figure as circuit_figure
from .formats import read_scores as read_scores
from .formats import write_scores as write_scores
from .graph import Graph as Graph
from .ground_truth import ground_truth as ground_truth
from .metrics import METRICS as METRICS
from .models import load_model as load_model
from .prompts import PromptPair as PromptPair
from .prompts import PromptSet as PromptSet
from .prompts import fit as fit
from .prompts import read_prompts as read_prompts
from .readings import check_role as check_role
from .readings import head_roles as head_roles
from .runs import RunLibrary as RunLibrary
from .runs import RunSpec as RunSpec
from .runs import compute_run as compute_run
from .runs.mechanisms import run_mechanisms as run_mechanisms
from .study.plan import read_study as read_study
from .study.reproduce import reproduce as reproduce
from .study.sweep import sweep as sweep
from .tasks import TASKS as TASKS
from .tasks import make_prompts as make_prompts
from .tasks import prompt_spans as prompt_spans

__version__: str
