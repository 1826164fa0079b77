"""The weights and optimizer states of a checkpoint, as flat lists."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch

from .placeholders import placeholder

_PLAIN = {int, float, bool, type(None)}


@dataclass(frozen=True)
class StatePart:
    """A dictionary of a checkpoint. Its values are tensors, or dictionaries of tensors and plain values.

    Attributes:
        kind: The type of the dictionary.
        keys: Its keys in order. For an optimizer's state, each key is followed by a tuple of the inner keys.
        attributes: The attributes of the dictionary, such as ``_metadata`` of a module's state.
        leaves: Its values, or those of the inner dictionaries, in order: tensors and plain values.
        has_only_tensors: Whether all leaves are tensors.
    """

    kind: type
    keys: list[Any]
    attributes: dict[str, Any]
    leaves: list[Any]
    has_only_tensors: bool = True

    def groups(self) -> Iterator[tuple[Any, Sequence[str]]]:
        """Yield each key with its inner keys. Without inner dictionaries, yield None with all keys."""
        if self.keys and type(self.keys[-1]) is tuple:
            yield from zip(self.keys[::2], self.keys[1::2], strict=True)
        else:
            yield None, self.keys


@dataclass
class FlatState:
    """A checkpoint, taken apart.

    Attributes:
        parts: The weights, and the state of each optimizer.
        rest: The checkpoint with `placeholder` in place of each part.
        has_weights: Whether the first part is the weights.
        tensors: The tensors of all parts, in order.
    """

    parts: list[StatePart]
    rest: dict[str, Any]
    tensors: list[torch.Tensor] = field(default_factory=list)
    has_weights: bool = False


def flat_state(checkpoint: Any) -> FlatState | None:
    """Take a checkpoint apart; return None if it has no parts of plain tensors.

    Args:
        checkpoint: A dictionary with the keys of a Lightning checkpoint. It is not changed.
    """
    if type(checkpoint) is not dict:
        return None
    flat = FlatState([], dict(checkpoint))
    _take_weights(flat, checkpoint.get("state_dict"))
    _take_optimizers(flat, checkpoint.get("optimizer_states"))
    for part in flat.parts:
        only = part.has_only_tensors
        flat.tensors += part.leaves if only else [leaf for leaf in part.leaves if type(leaf) is torch.Tensor]
    return flat if flat.tensors else None


def _take_weights(flat: FlatState, weights: Any) -> None:
    if type(weights) not in (dict, OrderedDict):
        return
    leaves = list(weights.values())
    if set(map(type, leaves)) == {torch.Tensor} and set(map(type, weights)) == {str}:
        attributes = vars(weights) if type(weights) is OrderedDict else {}
        flat.parts.append(StatePart(type(weights), list(weights), attributes, leaves))
        flat.rest["state_dict"], flat.has_weights = placeholder(len(flat.parts) - 1), True


def _take_optimizers(flat: FlatState, optimizers: Any) -> None:
    if type(optimizers) is not list:
        return
    states: list[Any] = []
    for optimizer in optimizers:
        part = _optimizer_part(optimizer)
        if part is not None:
            flat.parts.append(part)
            optimizer = {**optimizer, "state": placeholder(len(flat.parts) - 1)}
        states.append(optimizer)
    flat.rest["optimizer_states"] = states


def _optimizer_part(optimizer: Mapping[str, Any]) -> StatePart | None:
    state = optimizer.get("state") if type(optimizer) is dict else None
    if type(state) is not dict or set(map(type, state.values())) != {dict} or set(map(type, state)) != {int}:
        return None
    keys: list[Any] = []
    leaves: list[Any] = []
    for key, values in state.items():
        keys += key, tuple(values)
        leaves += values.values()
    kinds = set(map(type, leaves))
    names = set(map(type, chain.from_iterable(keys[1::2])))
    if torch.Tensor not in kinds or not kinds <= {torch.Tensor, *_PLAIN} or names != {str}:
        return None
    return StatePart(dict, keys, {}, leaves, has_only_tensors=kinds == {torch.Tensor})
