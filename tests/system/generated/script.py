"""Random training scripts, as plain facts from which each framework's builder makes real ones."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

BATCHES = 6  # in each epoch
EPOCHS = 3


@dataclass(frozen=True)
class Script:
    """One random training script.

    Attributes:
        seed: Draws the script, and seeds its training.
        optimizers: Number of optimizers; with more than one, the script steps them itself.
        accumulate: Batches for each update.
        validate: Batches between validations; 0 for one at each epoch's end.
        schedule: How the learning rate changes.
        model: What the hooks of the model do, as pairs of a hook and an action.
        callback: What the hooks of a callback do.
        is_first: Whether that callback comes before the one that saves.
        loader: The source of the batches.
        save: When checkpoints are saved.
        kill: The batch, counted from the training's beginning, before which the process is killed.
    """

    seed: int
    optimizers: int
    accumulate: int
    validate: int
    schedule: str
    model: tuple[tuple[str, str], ...]
    callback: tuple[tuple[str, str], ...]
    is_first: bool
    loader: str
    save: str
    kill: int

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


@dataclass(frozen=True)
class Choices:
    """What a framework's scripts may do.

    Attributes:
        actions: The actions of each hook.
        schedules: See `Script.schedule`.
        loaders: See `Script.loader`.
    """

    actions: dict[str, tuple[str, ...]]
    schedules: tuple[str, ...]
    loaders: tuple[str, ...]


def draw(seed: int, choices: Choices) -> Script:
    """Return the script of this seed."""
    random_ = random.Random(seed)
    optimizers = random_.choice((1, 1, 1, 2, 3))
    return Script(
        seed=seed,
        optimizers=optimizers,
        accumulate=random_.choice((1, 1, 2, 3)) if optimizers == 1 else 1,
        validate=random_.choice((0, 0, 2, 3)),
        schedule=random_.choice(choices.schedules),
        model=_hooks(random_, choices.actions),
        callback=_hooks(random_, choices.actions),
        is_first=random_.random() < 0.5,
        loader=random_.choice(choices.loaders),
        save=random_.choice(("epochs", "steps", "improves", "both")),
        kill=random_.randrange(2, BATCHES * EPOCHS),
    )


def _hooks(random_: random.Random, actions: dict[str, tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    chosen = random_.sample(sorted(actions), random_.randrange(4))
    return tuple((hook, random_.choice(actions[hook])) for hook in chosen)
