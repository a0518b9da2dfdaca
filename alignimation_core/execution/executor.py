"""Where the work on single photos is done: in threads of this process, or on a Ray cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Work = Callable[[list[Item]], Sequence[Answer]]
"""What is done with a batch of items: one answer each. It travels to every worker, pickled."""

AHEAD = 2
"""Batches that wait, decoded or done, beside those that the workers are at."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What comes in place of an answer when an item has killed its workers.

    Attributes:
        reason: what happened, for a person to read.
    """

    reason: str


class Executor(ABC):
    """Does the same work on many items, a bounded number at a time.

    Attributes:
        cores: that one call of the work may use while the other workers wait for it.
    """

    cores: int

    @abstractmethod
    def map(
        self, work: Work[Item, Answer], batches: Iterable[Sequence[Item]]
    ) -> Iterator[Sequence[Answer | Lost]]:
        """Do work on batches of items.

        Args:
            work: called with one batch after another, on several at once.
            batches: taken only a few ahead of the answers.

        Yields:
            The answers of each batch, in the order of the batches. On every executor they are the
            same, as long as the work depends on nothing but its items.

        Raises:
            Exception: whatever the work raises.
        """


class Threads(Executor):
    """Threads of this process, each computing alone: the photos are spread, not the operations.

    Args:
        count: how many; as many as torch would use when left out, that is as many as there are
            cores, or ``OMP_NUM_THREADS``.
    """

    def __init__(self, count: int | None = None) -> None:
        self.cores = count or torch.get_num_threads()

    def map(
        self, work: Work[Item, Answer], batches: Iterable[Sequence[Item]]
    ) -> Iterator[Sequence[Answer | Lost]]:
        """Do work on batches of items; see ``Executor.map``."""
        waiting: deque[Future[Sequence[Answer]]] = deque()
        pool = ThreadPoolExecutor(
            self.cores, "photos", initializer=torch.set_num_threads, initargs=(1,)
        )
        before = torch.get_num_threads()
        try:
            for batch in batches:
                waiting.append(pool.submit(work, list(batch)))
                if len(waiting) >= self.cores + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # what is interrupted in the middle of a batch is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            torch.set_num_threads(before)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch's operations on this thread, and on those that begin later, use so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
