"""The six tasks: what each asks of a model, and seeded generators of prompt pairs."""

from eapgp.tasks.recipe import SPLITS
from eapgp.tasks.registry import TASKS, Task, get_task, make_prompts, posable, prompt_spans

__all__ = ["SPLITS", "TASKS", "Task", "get_task", "make_prompts", "posable", "prompt_spans"]
