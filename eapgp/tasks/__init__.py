"""The six tasks: what each asks of a model, and seeded generators of prompt pairs."""

from eapgp.tasks.registry import TASKS, Task, get_task, make_prompts, posable
from eapgp.tasks.space import SPLITS

__all__ = ["SPLITS", "TASKS", "Task", "get_task", "make_prompts", "posable"]
