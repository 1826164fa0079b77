"""The same weights in a file of each format that can be reduced, and what such a file holds."""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import torch

from ckpt_callbacks.formats import format_of
from ckpt_callbacks.formats.keras.archive import KEY, METADATA, OPTIMIZERS, WEIGHTS
from ckpt_callbacks.formats.keras.embedded_dataset import DATASET
from ckpt_callbacks.policy.contents import Contents
from ckpt_callbacks.policy.contents_order import contents_of, reachable
from ckpt_callbacks.record import Record

OPTIMIZER = np.arange(24, dtype=np.float32) / 7
SUFFIXES = [".ckpt", ".keras", ".h5", ".weights.h5"]
_BITS = {"F16": "fp16", "BF16": "bf16", "F32": "fp32", "F64": "fp64"}


@dataclass
class Held:
    """What a file holds.

    Attributes:
        arrays: The weights by name, as a reader of the file gets them.
        types: The type of each as it is stored.
        optimizer: The optimizer's state; None if it is not there.
        record: The embedded record.
    """

    arrays: dict[str, np.ndarray]
    types: dict[str, str]
    optimizer: np.ndarray | None
    record: Record


def weights() -> dict[str, np.ndarray]:
    """Return the weights of two parts of a model, whose names fit each format."""
    numbers = np.random.default_rng(3)
    return {
        "body/0": numbers.normal(size=(60, 200)).astype(np.float32),
        "body/1": np.array([7, 8], dtype=np.int64),
        "head/0": numbers.normal(size=(40, 3)).astype(np.float32),
        "head/1": numbers.normal(size=3) / 3,
    }


def write(path: Path, of: dict[str, np.ndarray] | None = None, **more: object) -> Record:
    """Write a file with these weights, and return its record.

    Args:
        path: The file.
        of: The weights.
        more: More of this package's data.
    """
    of = weights() if of is None else of
    record = Record(1, path.name, contents="weights" if path.name.endswith(".weights.h5") else "full")
    facts = {"record": record.to_json(), **more}
    if path.suffix == ".ckpt":
        state = {name.replace("/", "."): torch.from_numpy(array) for name, array in of.items()}
        saved = {"state_dict": state, "optimizer_states": [{"m": torch.from_numpy(OPTIMIZER)}], "ckpt_callbacks": facts}
        torch.save(saved, path)
        return record
    target = path.with_suffix(".inner") if path.suffix == ".keras" else path
    with h5py.File(target, "w") as file:
        for name, array in of.items():
            layer, number = name.split("/")
            if _is_legacy(path):
                group = file.require_group(f"model_weights/{layer}")
                group.attrs["weight_names"] = [*group.attrs.get("weight_names", ()), name]
                group[name] = array
            else:
                group = file.require_group(f"layers/dense{'' if layer == 'body' else '_1'}/vars")
                group.attrs["name"] = layer
                group[number] = array
        if path.name.endswith(".weights.h5"):
            pass
        elif _is_legacy(path):
            file["optimizer_weights/adam/m"] = OPTIMIZER
        else:
            file["optimizer/vars/0"] = OPTIMIZER
        if path.suffix != ".keras":
            file[DATASET] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(METADATA, json.dumps({"keras_version": "3", KEY: {**facts, OPTIMIZERS: ["optimizer"]}}))
            archive.writestr("config.json", "{}")
            archive.write(target, WEIGHTS)
        target.unlink()
    return record


def name_in(path: Path, weight: str) -> str:
    """Return the name that a save notes of a weight."""
    if path.suffix == ".ckpt":
        return weight.replace("/", ".")
    layer, number = weight.split("/")
    return (
        f"model_weights/{layer}/{weight}"
        if _is_legacy(path)
        else f"layers/dense{'_1' * (layer == 'head')}/vars/{number}"
    )


def reduced(path: Path, record: Record, needed: Contents, name: str = "new") -> tuple[Path, Record]:
    """Reduce a file as `Rewriting` does, and return the new one with its record."""
    form = format_of(path)
    new = path.with_name(f"{name}{'.weights' if path.name.endswith('.weights.h5') else ''}{path.suffix}")
    contents = reachable(contents_of(record.contents, record.reduced), needed)
    record = record.replace(contents=contents.kind)
    written = form.thin(path, new, record.to_json(), contents)
    form.check(new, written.shapes)
    return new, record.replace(reduced=written.reduced)


def held(path: Path) -> Held:
    """Return what a file holds."""
    record = Record.from_json(format_of(path).facts(path)["record"])
    if path.suffix == ".ckpt":
        found = torch.load(path, weights_only=True)
        state = {name.replace(".", "/"): value for name, value in found["state_dict"].items()}
        types = {name: str(value.dtype).removeprefix("torch.") for name, value in state.items()}
        types = {name: {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64"}.get(kind, kind)
                 for name, kind in types.items()}  # fmt: skip
        arrays = {name: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for name, v in state.items()}
        optimizer = found["optimizer_states"][0]["m"].numpy() if "optimizer_states" in found else None
        return Held(arrays, types, optimizer, record)
    arrays, types, optimizer = {}, {}, None
    with _opened(path) as file:

        def visit(name: str, item: object) -> None:
            nonlocal optimizer
            if not isinstance(item, h5py.Dataset) or name == DATASET:
                return
            if name.startswith("optimizer"):
                optimizer = item[()]
                return
            short = "/".join(name.split("/")[-2:])
            if not _is_legacy(path):
                short = f"{item.parent.attrs['name']}/{name.split('/')[-1]}"
            is_bf16 = item.attrs.get("dtype") == "bfloat16"
            arrays[short] = np.array(item, dtype=ml_dtypes.bfloat16).astype("f") if is_bf16 else item[()]
            size = item.id.get_type().get_size()
            bias = item.id.get_type().get_ebias() if item.dtype.kind == "f" else 0
            is_bf16 = is_bf16 or (size, bias) == (2, 127)
            types[short] = "bf16" if is_bf16 else {2: "fp16", 4: "fp32", 8: "fp64"}[size] if bias else str(item.dtype)

        file.visititems(visit)
        for group in file.get("model_weights", {}).values():
            assert all(name in group for name in group.attrs["weight_names"])
    return Held(arrays, types, optimizer, record)


@contextmanager
def _opened(path: Path):
    if path.suffix != ".keras":
        with h5py.File(path) as file:
            yield file
        return
    inner = path.with_suffix(".inner")
    with zipfile.ZipFile(path) as archive:
        inner.write_bytes(archive.read(WEIGHTS))
    with h5py.File(inner) as file:
        yield file


def _is_legacy(path: Path) -> bool:
    return path.suffix == ".h5" and not path.name.endswith(".weights.h5")
