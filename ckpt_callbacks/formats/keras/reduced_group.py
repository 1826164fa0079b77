"""A group of a Keras file's HDF5 part, copied with smaller contents."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import h5py
import ml_dtypes
import numpy as np
from h5py import h5d, h5s, h5t

from ..reduction import Error, Reduction, error_of
from .hdf5_part import LEGACY_WEIGHTS

_TYPES = {"fp32": np.dtype("float32"), "fp16": np.dtype("float16"), "bf16": np.dtype(ml_dtypes.bfloat16)}
_NAMES = {2: "fp16", 4: "fp32", 8: "fp64"}  # of the types that HDF5 files hold, by the bytes of a number
_VARS = "vars"  # the group of an object's variables


def copy_group(
    source: h5py.Group,
    made: h5py.Group,
    reduction: Reduction,
    *,
    left_out: Collection[str] = (),
    exact: Collection[str] = (),
    instead: Mapping[str, str] = MappingProxyType({}),
    path: str = "",
    label: str = "",
) -> None:
    """Copy a group with all that is below it.

    Args:
        source: The group.
        made: The new group.
        reduction: Says which tensors are left out, and rounded.
        left_out: The paths of groups and datasets that are left out.
        exact: The paths of groups that are copied as they are: those of optimizers.
        instead: The paths of datasets whose numbers are stored in place of those of others, by the paths of these.
        path: The path of the group, with a slash at its end.
        label: The names of the layers that lead to the group, in the same form.
    """
    how: dict[str, Any] = {"left_out": left_out, "exact": exact, "instead": instead}
    for name, item in source.items():
        place = f"{path}{name}"
        if place in left_out:
            continue
        if place in exact:
            source.copy(name, made)
        elif isinstance(item, h5py.Group):
            further = f"{label}{_name_of(item)}"
            copy_group(item, made.create_group(name), reduction, path=f"{place}/", label=further, **how)
        else:
            chosen, called = source.file[instead.get(place, place)], _names(place, name, label)
            if not reduction.drops(*called, nbytes=chosen.nbytes, data=partial(_raw_bytes, chosen)):
                _copy_dataset(chosen, made, name, reduction, called[0], is_legacy=LEGACY_WEIGHTS in place)
    for name, value in source.attrs.items():
        made.attrs[name] = _present(value, made) if name.startswith("weight_names") else value


def _present(names: Any, made: h5py.Group) -> Any:
    """Return those of the names of a layer's weights that are still there."""
    return np.array([name for name in names if name in made], dtype=names.dtype)


def _name_of(group: h5py.Group) -> str:
    """Return the name of the layer that a group belongs to, with a slash at its end; empty if there is none."""
    variables = group.get(_VARS)
    name = variables.attrs.get("name") if isinstance(variables, h5py.Group) else None
    return "" if name is None else f"{name}/"


def _names(place: str, name: str, label: str) -> tuple[str, ...]:
    """Return the names that a user may call a dataset by; the first one is that in messages.

    In a new file, its path has the classes of layers, so that it says ``layers/dense_1/vars/0`` of ``head``, or
    ``head/0``. In a legacy file, it says ``model_weights/head/head/kernel`` of ``head/kernel``, or, in a Sequential
    model of the name ``net``, ``model_weights/head/net/head/kernel``.
    """
    if place.startswith(f"{LEGACY_WEIGHTS}/"):
        _, layer, path = place.split("/", 2)
        return path[max(0, f"/{path}".find(f"/{layer}/")) :], path, place
    return (f"{label}{name}", place) if label else (place,)


def _copy_dataset(
    item: h5py.Dataset, made: h5py.Group, name: str, reduction: Reduction, called: str, *, is_legacy: bool
) -> None:
    """Copy a dataset, rounded if its numbers are larger than they are to be."""
    size = item.id.get_type().get_size()
    types = reduction.types_for(size) if item.dtype.kind == "f" else ()
    numbers = item[()] if types else None
    for chosen in types:
        rounded, error = _rounded(numbers, _TYPES[chosen])
        if error is None:
            continue
        reduction.note(called, error)
        if chosen != types[0]:
            reduction.note_wider(called, chosen)
        _write(made, name, rounded, is_legacy=is_legacy)
        for key, value in item.attrs.items():
            made[name].attrs[key] = value
        return
    if types:
        reduction.note_wider(called, _NAMES[size])
    made.file.copy(item, made, name)


def _raw_bytes(item: h5py.Dataset) -> bytes:
    return bytes(np.asarray(item[()]).tobytes())


def _write(made: h5py.Group, name: str, numbers: Any, *, is_legacy: bool) -> None:
    if numbers.dtype != _TYPES["bf16"]:
        made.create_dataset(name, data=numbers)
    elif is_legacy:
        # Keras cannot read the bfloat16 that it writes into a legacy file. HDF5 itself can, as a type of its own.
        space = h5s.create_simple(numbers.shape) if numbers.shape else h5s.create(h5s.SCALAR)
        h5py.Dataset(h5d.create(made.id, name.encode(), _bfloat16(), space))[...] = numbers.astype(np.float32)
    else:
        made.create_dataset(name, data=numbers).attrs["dtype"] = "bfloat16"  # as Keras does


def _bfloat16() -> h5t.TypeFloatID:
    """Return the type whose numbers every reader of HDF5 gets as float32."""
    kind = h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)  # the places of the sign, the exponent and the digits
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


def _rounded(numbers: Any, dtype: np.dtype) -> tuple[Any, Error | None]:
    """Return numbers in another type, and their error; None in its place if finite values become infinite."""
    numbers = np.asarray(numbers)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        rounded = numbers.astype(dtype)
        finite = np.isfinite(numbers)
        off = np.abs(rounded.astype(numbers.dtype) - numbers)[finite]
    if not off.size:
        return rounded, (0.0, 0.0)
    error, largest = float(off.max()), float(np.abs(numbers[finite]).max())
    if not np.isfinite(error):
        return rounded, None
    return rounded, error_of(error, largest)
