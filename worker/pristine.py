"""The builtins as they were before any script, for the modules that run beside foreign code.

A module that says ``__builtins__ = BUILTINS`` above its functions resolves ``len``, ``isinstance`` and
the rest here, so that a script which patches the interpreter's builtins does not change what it does.
On interpreters other than CPython the assignment has no effect.
"""

from __future__ import annotations

import builtins
from typing import Any

BUILTINS: Any = dict(vars(builtins))
