"""The differences between a model and the one that wrote a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch.nn.parameter import is_lazy

from ..errors import ResumeError, listed
from .compiled_modules import accepts_plain_names
from .remedies import way_to_begin_again, way_to_leave_out_optimizer


def refuse_other_model(trainer: Trainer, path: Any, checkpoint: Mapping[str, Any]) -> None:
    """Raise `ResumeError`, and name the weights that differ, if the checkpoint does not fit the model."""
    saved = checkpoint.get("state_dict")
    if decides_what_fits(trainer) or not isinstance(saved, Mapping):
        return
    module = trainer.lightning_module
    ours, theirs = expected_shapes(module), shapes_of(saved, tuple(specially_loaded(module)))
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if not differing:
        return
    shown = listed(
        [f"{name} ({_text(theirs, name)} in the file, {_text(ours, name)} in the model)" for name in differing]
    )
    name = type(module).__name__
    if all(name not in theirs for name in differing):
        why = (
            f"lacks weights of {name}: {shown}; if they were left out on purpose, set self.strict_loading = False in "
            f"the module{_and_the_optimizer(trainer, checkpoint)}; otherwise expected the model that wrote it"
        )
    elif set(differing) <= {name for name, _ in module.named_buffers()} & theirs.keys():
        why = (
            f"holds buffers of other shapes than {name}: {shown}; if they change their shape in training, give them "
            "the shape in the file, in the module's on_load_checkpoint(checkpoint)"
        )
    else:
        why = (
            f"was written by a different model than {name}: {shown}; expected the model that wrote it; choose another "
            f"directory, or {way_to_begin_again(trainer)}"
        )
    raise ResumeError(f"{path}: {why}")


def _and_the_optimizer(trainer: Trainer, checkpoint: Mapping[str, Any]) -> str:
    # Only strict_loading would lead to the next error, about the optimizer's groups.
    restored = checkpoint.get("optimizer_states")
    return f", and if they are new and trained, also {way_to_leave_out_optimizer(trainer)}" if restored else ""


def expected_shapes(module: LightningModule) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the weights that a module requires of a checkpoint when it loads strictly."""
    # Not the module's own `state_dict`, which may leave some out.
    return shapes_of(torch.nn.Module.state_dict(module), tuple(specially_loaded(module)))


def decides_what_fits(trainer: Trainer) -> bool:
    """Return whether the module or the strategy changes what is loaded, or how, and so decides what fits."""
    module = trainer.lightning_module
    changed = any(
        getattr(type(module), name) is not getattr(LightningModule, name)
        for name in ("on_load_checkpoint", "load_state_dict")
    )
    return changed or not module.strict_loading or type(trainer.strategy) not in (SingleDeviceStrategy, DDPStrategy)


def loads_plainly(trainer: Trainer) -> bool:
    """Return whether the weights in a checkpoint are copied into the model as they are."""
    writes_plainly = type(trainer.lightning_module).state_dict is LightningModule.state_dict
    return writes_plainly and not decides_what_fits(trainer)


def specially_loaded(module: LightningModule) -> Iterator[str]:
    """Yield the prefixes of weights that may have other shapes, or other names, in a file that fits."""
    for name, part in module.named_modules():
        changed = not type(part)._load_from_state_dict.__module__.startswith("torch.nn.")  # such as an observer's
        own = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if changed or any(map(is_lazy, own)) or (part._load_state_dict_pre_hooks and not accepts_plain_names(part)):
            yield f"{name}." if name else ""


def shapes_of(state: Mapping[str, Any], special: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors in a ``state_dict``, without those of the ``special`` prefixes."""
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if not (name.startswith(special) or name.endswith("_extra_state")) and hasattr(value, "shape")
    }


def _text(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return str(shapes[name]) if name in shapes else "missing"
