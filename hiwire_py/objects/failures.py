"""What comes out of a call that fails, in the exceptions of this package."""

from __future__ import annotations

from ..engines import Engine, GuestLimits, Store
from ..errors import DeadlineError, ForgedRefError, FuelError, GuestTrap, RefError, StaleRefError
from .here import Here
from .runtime import Runtime

__all__ = ["Failures"]


class Failures:
    """The failures of one space's calls."""

    def __init__(
        self, engine: Engine, store: Store, limits: GuestLimits, runtime: Runtime, here: Here
    ) -> None:
        self._engine = engine
        self._store = store
        self._limits = limits
        self._runtime = runtime
        self._here = here

    def explain(self, error: BaseException, name: str) -> None:
        """Raise the exception of this package that ``error``, out of a call of ``name``, as in ``f()``,
        stands for. Return where it should go on as it is: a host function raised it, say."""
        ids, limits = self._runtime.ids, self._limits
        ids.request()  # a signal may have interrupted what releases: it goes on with that
        self._clear_frames(error)
        raised = self._here.passed(error)
        failure = self._store.panic(error)
        if failure is not None:
            raise failure from error
        # Where calls are timed, a trap can also come out of our own calls of a guest's function on the way.
        if raised and not (limits.timed and self._engine.trap_kind(error)):
            return
        if isinstance(error, KeyError) and [type(value) for value in error.args] == [int]:
            raise self.missing(error.args[0], f"{name} gave") from None
        kind = self._engine.trap_kind(error) if isinstance(error, Exception) else None
        if kind is None:
            return
        fault = self._runtime.fault()
        if isinstance(fault, BaseException):
            raise fault from error
        kind = fault or kind
        if kind == "interrupt" and limits.deadline is not None:
            raise DeadlineError(
                f"{name} was stopped: it took longer than its deadline of {limits.deadline} s"
            ) from error
        if kind == "out of fuel":
            raise FuelError(f"{name} was stopped: it burnt all its fuel, which was {limits.fuel}") from error
        advice = " (infinite recursion?)" if kind == "call stack exhausted" else ""
        raise GuestTrap(f"{name} trapped: {kind}{advice}", kind) from error

    def missing(self, key: int, what: str) -> RefError:
        """The exception for an externref that names no object.

        Args:
            what: who came with it, as in ``"f() gave"``.
        """
        if key in self._runtime.ids.tombstones:
            return StaleRefError(
                f"{what} an object that was collected: its handle is in a struct whose wrapper is dead, and"
                " only good for being released"
            )
        return ForgedRefError(
            f"{what} the externref {key & 0xFFFFFFFF:#x}, but the guest was given no such object", key
        )

    def _clear_frames(self, error: BaseException) -> None:
        """Frames of the engine's binding, in the traceback, hold arguments, and an exception that one of them
        raised itself: the arguments would live until Python's collector comes by."""
        traceback, binding = error.__traceback__, self._engine.binding
        ours = False
        while traceback is not None:
            frame = traceback.tb_frame
            module = frame.f_globals.get("__name__", "")
            # The binding's own context managers, but not those of host functions, which come later.
            ours = module.startswith(binding) or (ours and module == "contextlib")
            if ours or module == type(self._engine).__module__:
                frame.clear()
            traceback = traceback.tb_next
