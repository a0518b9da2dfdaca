"""The process that ``Processes`` starts: one end of its pipes."""

from __future__ import annotations

import os
import pickle
import signal
import traceback

from alignimation_core.api.errors import in_one_line


def serve() -> None:
    """Answer each call on stdin on stdout, until there are no more.

    A call is a function, its arguments and its keyword arguments; an answer is its value, its error
    or None, and whether another call may follow. All are pickled.
    """
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no sessions to keep it away
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    whole = True
    while whole:
        try:
            function, args, kwargs = pickle.load(calls)  # noqa: S301 - of our parent
        except EOFError:
            return
        except Exception as error:  # and what is left of the call is no beginning of the next
            whole = False
            answer = _failure(error, whole=whole)
        else:
            try:
                answer = pickle.dumps((function(*args, **kwargs), None, whole), protocol=5)
            except Exception as error:
                answer = _failure(error, whole=whole)
        answers.write(answer)
        answers.flush()


def _failure(error: Exception, *, whole: bool) -> bytes:
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(answer := pickle.dumps((None, error, whole)))  # noqa: S301 - made here
    except Exception:  # of a class whose errors cannot be made anew
        return pickle.dumps((None, RuntimeError(in_one_line(error)), whole))
    return answer
