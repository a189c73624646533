"""Which test file runs where, when several processes share them: browsers first, at most two at once."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

BROWSERS = 2  # a browser and its server keep a core busy; a third starves all of them
FOLDER = "tests/browser/"


class FewBrowsers(LoadFileScheduling):
    """Whole files, in the order of their names; the files that drive a browser first, but in two processes at most.

    A browser test waits a good part of its time, so that a third process with other tests fills two cores.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        may_browse = sum(self._browses(other) for other in self.nodes if other is not node) < BROWSERS
        wanted = (file for file in self.workqueue if file.startswith(FOLDER) == may_browse)
        self.workqueue.move_to_end(next(wanted, next(iter(self.workqueue))), last=False)
        super()._assign_work_unit(node)

    def _browses(self, node: WorkerController) -> bool:
        return any(
            file.startswith(FOLDER) and not all(tests.values()) for file, tests in self.assigned_work[node].items()
        )
