"""Taking back what was made on a server that has no transactions: each step says how, the last goes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from loader.client.interface import Transaction


@dataclass(eq=False)
class Step:
    """Something that was done: what it is called, and how it is taken back.

    ``undo`` is given the id of what was ``made``, or None where that was never learned.
    """

    name: str
    undo: Callable[[UUID | None], None] | None
    made: UUID | None = None

    def forget(self) -> None:
        """There is nothing to take back: it did not happen, or was not ours."""
        self.undo = None


class Journal(threading.local):
    """What this thread's transaction did so far. Nothing is kept outside of one."""

    def __init__(self) -> None:
        self.depth, self.steps, self.sure = 0, list[Step](), True

    def note(self, name: str, undo: Callable[[UUID | None], None]) -> Step:
        """Say how something is taken back, before it is done: whether it was may never be known for sure."""
        step = Step(name, undo)
        if self.depth:
            self.steps.append(step)
        return step

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Take back what was done inside when an exception leaves it; one inside another is part of it.

        A step that cannot be taken back is said in a note of the exception; the others still are. Ctrl-C
        meanwhile gives up the step that it falls into.
        """
        mark, made = len(self.steps), Transaction()
        self.depth += 1
        try:
            yield made
        except BaseException as error:
            leaving: BaseException = error
            while len(self.steps) > mark:
                step = self.steps.pop()
                if step.undo is None:
                    continue
                try:
                    step.undo(step.made)
                    self.sure &= step.made is not None  # a server may still do what it did not answer
                    continue
                except Exception as failure:
                    note = str(failure)
                except BaseException as failure:
                    leaving, note = failure, "it was interrupted"
                self.sure = False
                error.add_note(f"cannot take back {step.name}: {note}")
            made.undone = self.sure
            if leaving is error:
                raise
            for note in error.__notes__:
                leaving.add_note(note)
            raise leaving from error
        finally:
            self.depth -= 1
            if not self.depth:
                self.sure = True
                self.steps.clear()
