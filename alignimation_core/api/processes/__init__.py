"""Functions that are called in processes of their own, as many as threads call at once.

For a library that does one thing at a time, may crash, writes to the terminal, or must not see the
whole environment. A stage makes them when they are first used::

    @cached_property
    def network(self) -> Processes[[ndarray, float], ndarray]:
        return Processes(find, env={"OMP_NUM_THREADS": "1"})

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        return [_detections(self.network(image.numpy(), self.threshold)) for image in images]
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, ParamSpec, TypeVar

__all__ = ["Processes"]

P = ParamSpec("P")
R = TypeVar("R")

_CODE = "from alignimation_core.api.processes._child import serve; serve()"
_AS_HERE: Mapping[str, str | None] = MappingProxyType({})


class Processes(Generic[P, R]):
    """A function, called in a process of its own.

    A process stays for further calls until it dies, this object goes, or this process ends in
    whatever way. Ctrl-C does not reach it, and what it prints goes nowhere. A network that the
    function keeps, as with ``functools.cache``, it has once a process.

    Args:
        function: one that can be imported from its module; its arguments and answers can be
            pickled. Its module is imported there, so the module imports nothing heavy itself.
        env: environment variables of the processes, besides this one's; None leaves one out.

    Raises:
        ValueError: the function cannot be imported from its module.
    """

    def __init__(
        self, function: Callable[P, R], *, env: Mapping[str, str | None] = _AS_HERE
    ) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        if function.__module__ == "__main__" or "<" in function.__qualname__:
            raise ValueError(f"{self._name}: other processes cannot import this; move it to a file")
        self._function, self._env = function, dict(env)
        # By the process that started them: one that is forked from it leaves them alone.
        self._idle: dict[int, list[subprocess.Popen[bytes]]] = {}
        weakref.finalize(self, _end_idle, self._idle)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in a process that is not at work.

        Raises:
            Exception: what the function raised; its traceback there is a note of it.
            RuntimeError: the process died. The next call has another.
        """
        idle = self._idle.setdefault(os.getpid(), [])
        try:
            process = idle.pop()
        except IndexError:
            process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((self._function, args, kwargs), process.stdin, protocol=5)
            process.stdin.flush()
            value: R
            value, error, stays = pickle.load(process.stdout)  # noqa: S301 - our own process
        except (EOFError, OSError, pickle.UnpicklingError):
            process.communicate()
            how = _named(process.returncode)
            raise RuntimeError(f"the process of {self._name} died ({how})") from None
        except BaseException:
            _end(process)
            raise
        if stays:
            idle.append(process)
        else:
            _end(process)
        if error is not None:
            raise error
        return value

    def _start(self) -> subprocess.Popen[bytes]:
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | self._env
        return subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C does not reach it while it starts
            env={name: text for name, text in env.items() if text is not None},
        )


def _named(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _end_idle(processes: dict[int, list[subprocess.Popen[bytes]]]) -> None:
    for process in processes.get(os.getpid(), []):
        _end(process)
