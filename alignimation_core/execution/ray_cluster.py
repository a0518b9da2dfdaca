"""The executor that spreads the work over a Ray cluster."""

from __future__ import annotations

import io
import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from alignimation_core.api.errors import AlignimationError, in_one_line
from alignimation_core.api.stages import Stage
from alignimation_core.execution.executor import Answer, Executor, Item, Lost, Work
from alignimation_core.recipe.options import ExecutorOptions

if TYPE_CHECKING:
    from alignimation_core.execution.ray_pool import Batch, Pool
    from alignimation_core.execution.ray_worker import Order

PATIENCE = 300.0
"""Seconds to wait for a node when there is none: an autoscaler may be about to start one."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tell nobody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, do not send the folder to the workers
}


class Cluster(Executor):
    """The workers of a Ray cluster; a context manager.

    Each worker is a process with one core, whose torch uses one thread, as in the threads of the
    local executor. It keeps the work, with the networks that this has loaded, until another comes.
    A batch of several items that kills its worker is done again item by item; an item that kills
    two is answered by ``Lost``. Whatever is lost with its node is done again.

    Args:
        options: which cluster, how many workers, and what each takes.
    """

    cores = 1

    def __init__(self, options: ExecutorOptions) -> None:
        self._options = options
        self._connected = False
        self._pool: Pool | None = None

    def __enter__(self) -> Self:
        """Join the cluster, or start one on this machine.

        Raises:
            AlignimationError: Ray is not installed, nothing answers at the address, or the cluster
                started here has no room for a worker.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise AlignimationError(
                f"executor.use: {in_one_line(error)}: pip install 'alignimation[ray]'"
            ) from error
        from alignimation_core.execution.ray_pool import Pool

        ours = False
        try:
            if not ray.is_initialized():
                address = _address(self._options)
                ours, self._connected = address == "local", True
                _connect(address, self._options.workers)
            self._pool = Pool(self._options, 0 if ours else PATIENCE)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the workers go; leave the cluster, or stop the one started here."""
        try:
            if self._pool is not None:
                self._pool.close()
        finally:
            self._leave()

    def _leave(self) -> None:
        import ray

        if self._connected:
            ray.shutdown()

    def map(
        self, work: Work[Item, Answer], batches: Iterable[Sequence[Item]]
    ) -> Iterator[Sequence[Answer | Lost]]:
        """Do work on batches of items; see ``Executor.map``.

        Raises:
            AlignimationError: the work cannot travel, no node is left, a node lacks what the work
                needs, or no worker survives.
        """
        from alignimation_core.execution.ray_pool import EACH, Batch, Task

        pool = self._pool
        assert pool is not None
        pool.begin(_order(work))
        waiting: deque[Batch] = deque()
        try:
            for batch in batches:
                items = list(batch)
                waiting.append(Batch([None] * len(items), len(items)))
                if items:
                    pool.add(Task(waiting[-1], items, range(len(items))))
                pool.step(0)
                while waiting and (waiting[0].done or len(waiting) >= EACH * pool.room):
                    yield _first(waiting, pool)
            while waiting:
                yield _first(waiting, pool)
        finally:
            pool.stop()


def _first(waiting: deque[Batch], pool: Pool) -> list[Any]:
    """Wait for the answers of the first batch."""
    while not waiting[0].done:
        pool.step(1)
    batch = waiting.popleft()
    if batch.error is not None:
        raise batch.error
    return batch.answers


def _order(work: Work[Any, Any]) -> Order:
    """Pickle a work, and note what the nodes must have to do it as it is done here.

    Raises:
        AlignimationError: it cannot be pickled.
    """
    from alignimation_core.execution.ray_worker import Order
    from alignimation_core.plugin.fingerprint import code_digest, fingerprint
    from alignimation_core.plugin.registry import registry

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
    from alignimation_core.plugin.registry import KINDS

    found: list[tuple[str, Stage]] = []

    class Finder(pickle.Pickler):
        def reducer_override(self, thing: object) -> Any:
            found.extend((kind, thing) for kind, base in KINDS.items() if isinstance(thing, base))
            return NotImplemented

    with suppress(Exception):  # what cannot be pickled is told of when it is packed
        Finder(io.BytesIO()).dump(work)
    return found


def _packed(thing: object, name: str) -> bytes:
    """Pickle something.

    Raises:
        AlignimationError: it cannot be; the error names it.
    """
    try:
        return pickle.dumps(thing)
    except Exception as error:  # a plugin's options may raise anything
        raise AlignimationError(
            f"executor: {name} cannot travel to Ray's workers: {in_one_line(error)}; "
            "use executor: local"
        ) from error


def _address(options: ExecutorOptions) -> str:
    """Return the address of the cluster to join, ``auto`` for that here, ``local`` to start one.

    Raises:
        AlignimationError: nothing answers at an address that was asked for.
    """
    wanted = options.address or os.environ.get("RAY_ADDRESS")
    if wanted in (None, "", "auto"):
        running = _running()
        return "auto" if running and _unreachable(running) is None else "local"
    if wanted != "local" and (reason := _unreachable(wanted)):
        field = "executor.address" if options.address else "RAY_ADDRESS"
        raise AlignimationError(
            f"{field}: no Ray cluster answers at {wanted}: {reason}; start one there with "
            "`ray start --head`, or leave the address out"
        )
    return wanted


def _running() -> str | None:
    """Return the address of the cluster that ``ray start`` has started or joined here."""
    with suppress(ImportError, AttributeError):  # it is where Ray itself looks, but not public
        from ray._private.utils import read_ray_address

        found: str | None = read_ray_address()
        return found
    return None


def _unreachable(address: str) -> str | None:
    """Return why nothing can be reached at an address: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return "it should be written as HOST:PORT, such as 10.0.0.1:6379"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        return in_one_line(error)
    return None


def _connect(address: str, workers: int | None) -> None:
    """Join a cluster, or start one; nothing that Ray has to say reaches the terminal.

    Raises:
        AlignimationError: it cannot be joined.
    """
    import ray

    size = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    main = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM) if main else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tips on what later versions of Ray will do
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **size)
    except Exception as error:  # Ray raises bare RuntimeErrors, ValueErrors and the like
        raise AlignimationError(
            f"executor: cannot use the Ray cluster ({address}): {in_one_line(error)}; this machine "
            "must be one of its nodes, with the same versions of Ray and Python, and with its "
            "token and RAY_AUTH_MODE=token if it asks for one"
        ) from error
    finally:
        if main and on_terminate is not None:
            signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own in place
    _hush()


def _hush() -> None:
    """Stop Ray from printing on stdout how workers and nodes died; we tell it in our own words."""
    with suppress(ImportError, AttributeError):  # there is no public way
        from ray._private.worker import global_worker

        global_worker.threads_stopped.set()
        global_worker.gcs_error_subscriber.close()
