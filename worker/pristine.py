"""The builtins as they were before any script: what the modules that run beside foreign code look names up in.

A module that says ``__builtins__ = BUILTINS`` above its functions resolves ``len``, ``isinstance`` and
the rest here, so that a script which patches the interpreter's builtins does not change what it does.
On interpreters other than CPython the assignment has no effect.
"""

from __future__ import annotations

import builtins
from typing import Any, Dict

BUILTINS: Dict[str, Any] = dict(vars(builtins))
