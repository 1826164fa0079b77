"""A replacement for a function by which a model trains or validates a batch."""

from __future__ import annotations

import keras

TRAIN, TEST = "train_function", "test_function"  # the attributes of a model that hold these functions


class ReplacedFunction:
    """A function that stands in the place of ``model.train_function`` or ``model.test_function``.

    Args:
        model: The model.
        name: The attribute of the model: `TRAIN` or `TEST`.

    Attributes:
        model: As given.
        function: The function that it replaced, which may be a replacement as well.
    """

    def __init__(self, model: keras.Model, name: str = TRAIN) -> None:
        self.model, self._name, self.function = model, name, getattr(model, name)
        setattr(model, name, self)

    def end(self) -> None:
        """Restore the original, also if a later replacement has taken this one's place. Later calls do nothing."""
        outer = getattr(self.model, self._name)
        if outer is self:
            setattr(self.model, self._name, self.function)
        while isinstance(outer, ReplacedFunction):
            if outer.function is self:
                outer.function = self.function
            outer = outer.function


def restore_functions(model: keras.Model) -> None:
    """Restore the model's own functions, also if an exception left replacements in their place."""
    for name in (TRAIN, TEST):
        while isinstance(function := getattr(model, name), ReplacedFunction):
            function.end()
