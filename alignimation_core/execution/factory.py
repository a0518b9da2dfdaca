"""Executor that a recipe asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alignimation_core.execution.executor import Executor, Threads
from alignimation_core.recipe.options import ExecutorOptions


@contextmanager
def executor_of(options: ExecutorOptions) -> Iterator[Executor]:
    """Make the executor of a recipe, and close it at the end.

    Raises:
        AlignimationError: there is no such cluster, or Ray is not installed.
    """
    if options.use == "ray":
        from alignimation_core.execution.ray_cluster import Cluster

        with Cluster(options) as cluster:
            yield cluster
    else:
        yield Threads(options.workers)
