"""Executor that spreads the work over a Ray cluster."""

from __future__ import annotations

import io
import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from alignimation_core.api.errors import AlignimationError, in_one_line
from alignimation_core.api.stages import Stage
from alignimation_core.execution.executor import Answer, Executor, Item, Lost, Work
from alignimation_core.execution.ray_connection import GRACE, connection
from alignimation_core.execution.ray_worker import Order
from alignimation_core.plugin.fingerprint import code_digest, fingerprint
from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.recipe.options import ExecutorOptions

if TYPE_CHECKING:
    from alignimation_core.execution.ray_pool import Pool

LOG = logging.getLogger(__name__)
PATIENCE = 300.0
"""Seconds to wait for a node when there is none: an autoscaler may be about to start one."""
QUIET = 15.0
"""Seconds without the next answer after which a line says what is waited for."""
AHEAD = 2
"""Batches taken for each worker: the one that it is at, and the next."""
THREADS = 4096
"""Batches that can be under way, each in a thread that waits for its worker."""


class Cluster(Executor):
    """Workers of a Ray cluster; a context manager.

    Each worker is an actor with one core, whose torch uses one thread, as in the threads of the
    local executor. It keeps the work, with the networks that this has loaded, until another comes.
    A batch of several items that kills its worker is done again item by item; an item at which
    worker after worker dies is answered by ``Lost``. Whatever is lost with its node is done again.

    Args:
        options: which cluster, how many workers, and what each takes.
    """

    cores = 1

    def __init__(self, options: ExecutorOptions) -> None:
        self._options = options
        self._open = ExitStack()
        self._pool: Pool | None = None

    def __enter__(self) -> Self:
        """Join the cluster, or start one on this machine.

        Raises:
            AlignimationError: Ray is not installed, nothing answers at the address, or the cluster
                started here has no room for a worker.
        """
        with ExitStack() as opened:
            ours = opened.enter_context(connection(self._options))
            from alignimation_core.execution.ray_pool import Pool

            self._pool = Pool(self._options, 0 if ours else PATIENCE)
            opened.callback(self._pool.stop)
            opened.callback(self._pool.close)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the workers go; leave the cluster, or stop the one started here."""
        self._open.close()

    def map(
        self, work: Work[Item, Answer], batches: Iterable[Sequence[Item]]
    ) -> Iterator[Sequence[Answer | Lost]]:
        """Do work on batches of items; see ``Executor.map``.

        Raises:
            AlignimationError: the work cannot be pickled, no node is left, a node lacks what the
                work needs, or no worker survives.
        """
        pool, order, stopped = self._pool, _order(work), threading.Event()
        assert pool is not None
        threads = ThreadPoolExecutor(THREADS, "ray")
        waiting: deque[Future[list[Any]]] = deque()
        try:
            for batch in batches:
                waiting.append(threads.submit(pool.do, order, list(batch), stopped))
                pool.tend(len(waiting))
                if len(waiting) >= AHEAD * pool.room:
                    yield _first(waiting, pool)
            while waiting:
                yield _first(waiting, pool)
        finally:
            stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)
            if not all(batch.done() for batch in waiting):
                pool.close()  # what is interrupted in the middle of a batch is not waited for
                wait(waiting, timeout=GRACE)  # a thread may never come back from Ray


def _first(waiting: deque[Future[list[Any]]], pool: Pool) -> list[Any]:
    """Wait for the answers of the first batch; say for what where it takes long."""
    begun = told = time.monotonic()
    while not wait([waiting[0]], timeout=0.1).done:
        pool.tend(len(waiting))
        now = time.monotonic()
        if now - told > QUIET:
            told = now
            LOG.warning("executor: waiting %.0f s for %s", now - begun, pool.waits_for())
    return waiting.popleft().result()


def _order(work: Work[Any, Any]) -> Order:
    """Pickle a work, and note what the nodes must have to do it as it is done here."""
    versions = {"alignimation": metadata.version("alignimation")}
    stages = []
    for kind, stage in _stages(work):
        _packed(stage, f"{kind} {stage.name}")
        found = registry().stages[kind].get(stage.name)
        if found is not None and found.stage is type(stage):
            versions[found.distribution] = found.version
        stages.append((kind, stage, fingerprint(kind, stage)))
    name = type(work).__name__
    return Order(
        versions, code_digest("alignimation_core"), _packed(stages, name), _packed(work, name)
    )


def _stages(work: Work[Any, Any]) -> list[tuple[str, Stage]]:
    """Return the stages that travel with a work, each after its kind."""
    found: list[tuple[str, Stage]] = []

    class Finder(pickle.Pickler):
        def reducer_override(self, thing: object) -> Any:
            found.extend((kind, thing) for kind, base in KINDS.items() if isinstance(thing, base))
            return NotImplemented

    with suppress(Exception):  # what cannot be pickled is told of when it is packed
        Finder(io.BytesIO()).dump(work)
    return found


def _packed(thing: object, name: str) -> bytes:
    """Pickle something; the error names what cannot be."""
    try:
        return pickle.dumps(thing)
    except Exception as error:  # a plugin's options may raise anything
        raise AlignimationError(
            f"executor: {name} cannot travel to Ray's workers: {in_one_line(error)}; "
            "use executor: local"
        ) from error
