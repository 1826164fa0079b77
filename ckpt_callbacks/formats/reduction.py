"""The reduction of a checkpoint to smaller contents, whatever its format."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import xxhash

from ..errors import StoreError, listed
from ..policy.contents import Contents
from ..policy.name_patterns import SEPARATORS, matches
from ..policy.spelling import closest
from ..store.digest import named

FROZEN, AVERAGES, AVERAGED = "frozen", "averages", "averaged"  # the keys of names in this package's data in a file
_WORST = 3  # tensors of which the error is noted
_ITEM_SIZES = {"fp32": 4, "bf16": 2, "fp16": 2}

LEVELS = {"int8": 127, "int4": 7}  # the largest whole number of each type; zero is in the middle

Error = tuple[float, float]  # the largest absolute one, and the same as a part of the tensor's largest value


class Reduction:
    """What is left out of one file, and rounded, with what is noted about it.

    Args:
        contents: What the new file holds.
        before: What an earlier reduction of the file has noted; see `Record.reduced`.
        frozen: The names of the parameters that were frozen when the file was saved, under `FROZEN` in this package's
            data. None if it does not name them.

    Raises:
        StoreError: These names are needed.
    """

    def __init__(self, contents: Contents, before: Mapping[str, Any], frozen: Collection[str] | None = None) -> None:
        self.contents, self._before = contents, before
        self._frozen = set[str]()
        if contents.weights == "trainable" and before.get("weights") != "trainable":
            if frozen is None:
                raise StoreError(
                    "weights='trainable' needs the names of the frozen parameters, which a save notes in the file if a "
                    "rule of the policy has these contents; the file stays whole"
                )
            self._frozen = set(frozen)
        self._base = xxhash.xxh3_128()  # of what was frozen
        gone, known = before.get("drop", ()), before.get("unknown", ())
        self._unused = dict.fromkeys(
            pattern
            for pattern in contents.dropped
            if pattern not in known and not any(matches(pattern, name) for name in gone)
        )
        self._kept = 0
        self._parts: dict[str, None] = {}  # the names of all parts of the model
        self._dropped, self._dropped_bytes = 0, 0
        self._wider: dict[str, str] = {}
        self._errors: dict[str, Error] = {}

    def drops(self, *names: str, nbytes: int, data: Callable[[], Any]) -> bool:
        """Return whether to leave a tensor out, and note it.

        Args:
            names: The names of the tensor.
            nbytes: Its size.
            data: Returns its bytes.
        """
        meant = [pattern for pattern in self.contents.dropped if any(matches(pattern, name) for name in names)]
        for pattern in meant:
            self._unused.pop(pattern, None)
        if self._unused:
            self._parts.update(dict.fromkeys(_parts_of(names[0])))
        is_frozen = not self._frozen.isdisjoint(names)
        if is_frozen:
            self._base.update(f"{names[0]} {nbytes}\n".encode())
            self._base.update(data())
        if meant or is_frozen:
            self._dropped, self._dropped_bytes = self._dropped + 1, self._dropped_bytes + nbytes
        else:
            self._kept += 1
        return bool(meant) or is_frozen

    def types_for(self, item_size: int) -> tuple[str, ...]:
        """Return the types to try for a floating-point tensor, the best one first; none if it keeps its type.

        Args:
            item_size: The bytes of one of its numbers.
        """
        wanted = self.contents.dtype
        if wanted not in _ITEM_SIZES or _ITEM_SIZES[wanted] >= item_size:
            return ()
        return (wanted, "fp32") if _ITEM_SIZES["fp32"] < item_size and wanted != "fp32" else (wanted,)

    def note(self, name: str, error: Error) -> None:
        """Note the error of a tensor that was rounded; the largest one, if averages go by the same name."""
        self._errors[name] = max(error, self._errors.get(name, error))

    def note_wider(self, name: str, dtype: str) -> None:
        """Note that a tensor has values out of range, so that it keeps its type, or gets a wider one.

        Args:
            name: The name of the tensor.
            dtype: The type that it has in the new file.
        """
        self._wider[name] = dtype

    def facts(self) -> dict[str, Any]:
        """Return what the record is to say about it; see `Record.reduced`.

        Raises:
            StoreError: No weight is left.
        """
        contents, before = self.contents, self._before
        if not self._kept:
            what = f"drop={listed(contents.dropped)}" if contents.dropped else "weights='trainable'"
            raise StoreError(f"{what} leaves no weight in it; the file stays whole")
        found: dict[str, Any] = {}
        if contents.dtype is not None:
            found |= {"dtype": contents.dtype, "wider": {**before.get("wider", {}), **self._wider}}
            found["errors"] = self._all_errors()
        if contents.source is not None:
            found["source"] = contents.source
        if contents.weights != "all":
            found["weights"] = contents.weights
            found["base"] = named(self._base) if self._frozen else before.get("base")
        found["unknown"] = before.get("unknown", {}) | {pattern: self._hint(pattern) for pattern in self._unused}
        found["drop"] = [pattern for pattern in contents.dropped if pattern not in found["unknown"]]
        dropped = before.get("dropped", {"tensors": 0, "bytes": 0})
        if tensors := dropped["tensors"] + self._dropped:
            found["dropped"] = {"tensors": tensors, "bytes": dropped["bytes"] + self._dropped_bytes}
            found["reference"] = contents.reference or before.get("reference")
        return {name: value for name, value in found.items() if value not in (None, {}, [])}

    def _hint(self, pattern: str) -> str:
        """Return what may be meant by a name that nothing has."""
        meant = closest(pattern, self._parts)
        whole = [name for name in self._parts if not any(separator in name for separator in SEPARATORS)]
        return f"did you mean {meant!r}?" if meant else f"the model has {listed(whole)}"

    def _all_errors(self) -> dict[str, Any]:
        before = self._before.get("errors", {"tensors": 0, "worst": []})
        now = [[name, *error] for name, error in self._errors.items()]
        worst = heapq.nlargest(_WORST, [*before["worst"], *now], key=lambda item: item[2])
        return {"tensors": max(before["tensors"], len(now)), "worst": worst}


def error_of(worst: float, largest: float) -> Error:
    """Return the error of a tensor.

    Args:
        worst: The largest absolute error of a number.
        largest: The largest absolute value of a number.
    """
    return worst, worst / largest if largest else 0.0


def _parts_of(name: str) -> Iterator[str]:
    """Yield the name of a weight, and of each part of the model that it belongs to."""
    for place, character in enumerate(name):
        if character in SEPARATORS:
            yield name[:place]
    yield name


def no_averages(source: str | None, expected: str) -> StoreError:
    """Return the error for a file without the weights of the source that is asked for."""
    return StoreError(f"it holds no averages for source={source!r}; expected {expected}; the file stays whole")
