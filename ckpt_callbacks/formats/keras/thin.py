"""A Keras file that is made smaller, and that Keras reads as it reads the full one."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py

from ...errors import StoreError
from ...policy.contents import WHOLE_NUMBERS, Contents
from ..format import Shapes, Written
from ..reduction import AVERAGED, AVERAGES, FROZEN, Reduction, no_averages
from . import embedded, embedded_dataset
from .archive import ARRAYS, KEY, METADATA, OPTIMIZERS, WEIGHTS
from .check import tensors
from .hdf5_part import OPTIMIZER_GROUPS, hdf5_part
from .quantized import quantize
from .reduced_group import copy_group
from .suffix import KERAS


def reduce(path: Path, thinned: Path, record: Mapping[str, Any], contents: Contents) -> Written:
    """Write what the contents say into a new file.

    Keras loads it with `load_model`. If it holds only weights, Keras warns that the optimizer has no state in it.

    Args:
        path: The checkpoint.
        thinned: The new file.
        record: The record that the new file holds.
        contents: What the new file holds.

    Raises:
        OSError: The disk is full, or broken.
        StoreError: The file does not hold what is needed, nothing would be left, or Keras cannot quantize the model.
        Exception: Whatever zipfile and h5py raise for a damaged file.
    """
    own, dtype = embedded.read(path) or {}, contents.dtype
    reduction = Reduction(contents, record["reduced"], own.get(FROZEN))
    is_chosen = contents.source == record["reduced"].get("source")
    instead = {} if is_chosen else _instead(contents.source, own)
    if dtype not in WHOLE_NUMBERS or record["reduced"].get("dtype") == dtype:
        return _reduce(path, thinned, record, reduction, own, instead)
    if contents.weights != "all":
        raise StoreError(
            f"Keras quantizes whole models, so dtype={dtype!r} leaves out no frozen parameters; expected dtype='bf16', "
            "or weights='all'; the file stays whole"
        )
    with tempfile.TemporaryDirectory(dir=thinned.parent) as folder:
        quantized, chosen = Path(folder, thinned.name), Path(folder, f"chosen-{thinned.name}")
        if instead:
            _reduce(path, chosen, record, Reduction(Contents(contents.kind, source=contents.source), {}), own, instead)
            path = chosen
        for name, error in quantize(path, quantized, dtype).items():
            reduction.note(name, error)
        return _reduce(quantized, thinned, record, reduction, own, {})


def _reduce(
    path: Path,
    thinned: Path,
    record: Mapping[str, Any],
    reduction: Reduction,
    own: Mapping[str, Any],
    instead: Mapping[str, str],
) -> Written:
    kept = (FROZEN, AVERAGES, AVERAGED) if reduction.contents.kind == "full" else (FROZEN,)
    names = {name: own[name] for name in kept if name in own}
    if path.suffix != KERAS:
        shapes = _reduce_hdf5(path, thinned, reduction, OPTIMIZER_GROUPS, instead)
        facts = reduction.facts()
        embedded_dataset.write(thinned, json.dumps({**names, "record": {**record, "reduced": facts}}))
        return Written(shapes, reduced=facts)
    optimizers = {*OPTIMIZER_GROUPS, *own.get(OPTIMIZERS, ())}
    with tempfile.TemporaryDirectory(dir=thinned.parent) as folder:
        weights = Path(folder, WEIGHTS)
        shapes = _reduce_hdf5(path, weights, reduction, optimizers, instead)
        facts = reduction.facts()
        carried = {**names, "record": {**record, "reduced": facts}, OPTIMIZERS: sorted(optimizers)}
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(thinned, "w") as new:
            for entry in whole.infolist():
                if entry.filename == WEIGHTS:
                    new.write(weights, WEIGHTS)
                else:
                    data = whole.read(entry)
                    new.writestr(entry, _with_facts(data, carried) if entry.filename == METADATA else data)
    return Written(shapes, reduced=facts)


def _instead(source: str | None, own: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the datasets that are stored in place of others, which are those of the weights, by these.

    Args:
        source: Which weights are needed; see `Contents`.
        own: This package's data in the file.

    Raises:
        StoreError: It does not hold them.
    """
    if source is None:
        return {}
    averages: Mapping[str, str] = own.get(AVERAGES, {})
    if source == "ema" and not averages:
        raise no_averages(
            source, "an optimizer with use_ema=True, and a rule with this source in the policy when it was saved"
        )
    if source == "swa":
        raise no_averages(source, "source='ema', the only averages that Keras has")
    # `SwapEMAWeights` may have put the averages into the model, and the trained weights into the optimizer.
    return averages if (source == "ema") != own.get(AVERAGED, False) else {}


def _with_facts(metadata: bytes, facts: Mapping[str, Any]) -> str:
    found = json.loads(metadata)
    return json.dumps({name: value for name, value in found.items() if not name.startswith(KEY)} | {KEY: facts})


def _reduce_hdf5(
    source: Path, target: Path, reduction: Reduction, optimizers: Collection[str], instead: Mapping[str, str]
) -> Shapes:
    """Write an HDF5 file without what is left out, and return the shapes of its tensors.

    Without the state to resume from, this package's own arrays are of no use.
    """
    left_out = {ARRAYS, embedded_dataset.DATASET, *(optimizers if reduction.contents.kind != "full" else ())}
    with hdf5_part(source) as found, h5py.File(target, "w") as made:
        copy_group(found, made, reduction, left_out=left_out, exact=optimizers, instead=instead)
        return [("", tuple(item.shape)) for _, item in tensors(made)]
