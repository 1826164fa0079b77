"""Calls that come after a hook of the user's module.

Lightning calls a hook of all callbacks before the module's hook of the same name. A checkpoint that a callback saves in
``on_train_batch_end`` therefore lacks what the module does in its own hook: a step of an average or a scheduler, or a
random draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden


class ModuleHooks:
    """Defers calls until the module's own hook has run."""

    def __init__(self) -> None:
        self._pending: list[Callable[[], None]] = []  # each removes one deferred call

    def call_after(self, module: LightningModule, name: str, then: Callable[[], None]) -> None:
        """Call ``then`` once, after the module's hook ``name``, which Lightning calls next.

        The module has the deferred call as an attribute only until then, so that copies of the module do not get it.
        """
        attributes, earlier = vars(module), vars(module).get(name)  # another callback may also have deferred a call
        hook = getattr(module, name)

        def remove() -> None:
            self._pending.remove(remove)
            if earlier is None:
                attributes.pop(name, None)
            else:
                attributes[name] = earlier

        def run(*arguments: Any, **named: Any) -> Any:
            remove()
            result = hook(*arguments, **named)
            then()
            return result

        attributes[name] = run
        self._pending.append(remove)

    def call_after_validation(
        self,
        module: LightningModule,
        measured: Callable[[], dict[str, float]],
        then: Callable[[dict[str, float]], None],
    ) -> None:
        """Call ``then`` after the module's last hook in a validation. Call this method in ``on_validation_end``.

        Args:
            module: The module.
            measured: Returns the argument of ``then``. It is called after the module's ``on_validation_end``.
            then: What to call.
        """

        def follow() -> None:
            found = measured()
            # Lightning calls this hook only if the module overrides it, and a deferred call looks like an override.
            if is_overridden("on_validation_model_train", module):
                self.call_after(module, "on_validation_model_train", lambda: then(found))
            else:
                then(found)

        self.call_after(module, "on_validation_end", follow)

    def cancel(self) -> None:
        """Remove the calls whose hook was never called, because an exception came first."""
        for remove in reversed(self._pending[:]):
            remove()
