"""Loggers as the dialect's scripts expect them, writing to standard error; they run beside foreign code."""

from __future__ import annotations

import logging
import sys
from typing import Any, Optional

from worker.pristine import BUILTINS

__builtins__ = BUILTINS

FORMAT = "%(levelname)-7s | %(name)s - %(message)s"


class StandardError(logging.Handler):
    """Writes to what ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


HANDLER = StandardError()
HANDLER.setFormatter(logging.Formatter(FORMAT))
ROOT = logging.getLogger("prefect")


def get_logger(name: Optional[str] = None) -> logging.Logger:
    """A logger below ``prefect``."""
    if name is None:
        return ROOT
    return ROOT.getChild(name.removeprefix("prefect."))


def get_run_logger(_: Any = None, **extra: Any) -> logging.LoggerAdapter[logging.Logger]:
    """The logger of a run. There is no run while a script is loaded; what is logged is shown all the same."""
    return logging.LoggerAdapter(get_logger("flow_runs"), extra)


def begin() -> None:
    """Show what is logged from level INFO up."""
    ROOT.addHandler(HANDLER)
    ROOT.setLevel(logging.INFO)
    ROOT.propagate = False


def end() -> None:
    """Undo ``begin``."""
    ROOT.removeHandler(HANDLER)
    ROOT.setLevel(logging.NOTSET)
    ROOT.propagate = True
