"""The order of contents: which of them hold more than others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..record import Record
from .contents import KINDS, PARAMETERS, WHOLE_NUMBERS, Contents
from .name_patterns import common, covered, without_covered
from .shards import Shards

# A rewrite never converts between types of one rank: that would lose digits and save nothing.
_RANK: dict[str | None, int] = {None: 2, "fp32": 1, "bf16": 0, "fp16": 0, "int8": -1, "int4": -2}


def held(record: Record) -> Contents:
    """Return what the file of a record holds."""
    found = contents_of(record.contents, record.reduced)
    if "max_size" in record.shards and record.contents == "weights":
        return replace(found, shards=Shards(record.shards["max_size"]))
    return replace(found, compression=record.compressed.get("codec"))


def contents_of(kind: str, reduced: Mapping[str, Any]) -> Contents:
    """Return the contents that a kind and `Record.reduced` describe."""
    return Contents(
        kind,
        reduced.get("dtype"),
        tuple(reduced.get("drop", ())),
        source=reduced.get("source"),
        weights=reduced.get("weights", "all"),
    )


def holds(larger: Contents, smaller: Contents) -> bool:
    """Return whether a checkpoint with one contents holds all that one with the other does."""
    return (
        KINDS.index(larger.kind) <= KINDS.index(smaller.kind)
        and (larger.kind == "full" or larger.source == smaller.source)
        and PARAMETERS.index(larger.weights) <= PARAMETERS.index(smaller.weights)
        and (larger.dtype == smaller.dtype or _RANK[larger.dtype] > _RANK[smaller.dtype])
        and all(covered(pattern, smaller.dropped) for pattern in larger.dropped)
    )


def joined(needs: Iterable[Contents]) -> Contents:
    """Return contents that hold all of these, of which there is at least one, and as little else as possible."""
    parts = tuple(needs)
    dtypes = {part.dtype for part in parts}
    widest = max(dtypes, key=lambda dtype: _RANK[dtype])
    both = widest is not None and any(dtype != widest and _RANK[dtype] == _RANK[widest] for dtype in dtypes)
    drop = common(part.dropped for part in parts)
    kind = min((part.kind for part in parts), key=KINDS.index)
    sources = {part.source for part in parts}
    if len(sources) > 1:
        kind = "full"  # which holds the weights of each source
    weights = min((part.weights for part in parts), key=PARAMETERS.index)
    references = [part.reference for part in parts if part.reference is not None]
    return Contents(
        kind=kind,
        # Neither of bf16 and fp16 holds all numbers of the other, and no full checkpoint holds whole numbers.
        dtype="fp32" if both or (kind == "full" and widest in WHOLE_NUMBERS) else widest,
        drop=drop,
        reference=references[0] if references and (drop or weights == "trainable") else None,
        source=next(iter(sources)) if kind == "weights" else None,
        weights=weights,
        compression=_compression(parts),
        shards=_shards(parts) if kind == "weights" else None,
    )


def _compression(parts: Sequence[Contents]) -> str | None:
    """Return how to compress what all of these need: not, if one of them needs a native file."""
    if not all(part.is_compressed for part in parts):
        return parts[0].compression if len({part.compression for part in parts}) == 1 else None
    return "auto" if any(part.compression == "auto" for part in parts) else "zstd"


def _shards(parts: Sequence[Contents]) -> Shards | None:
    """Return how to split what all of these need: not, if one of them needs a native file."""
    sizes = [part.split for part in parts]
    return max(size for size in sizes if size is not None) if None not in sizes else None


def reachable(found: Contents, needed: Contents) -> Contents:
    """Return what a file holds once it has been rewritten to hold no more than is needed. Nothing comes back.

    Args:
        found: What it holds now.
        needed: What is needed.
    """
    drop = without_covered((*found.dropped, *needed.dropped))
    kind = max((found.kind, needed.kind), key=KINDS.index)
    weights = max((found.weights, needed.weights), key=PARAMETERS.index)
    return Contents(
        kind=kind,
        dtype=needed.dtype if _RANK[needed.dtype] < _RANK[found.dtype] else found.dtype,
        drop=drop,
        reference=needed.reference if drop or weights == "trainable" else None,
        source=(needed if found.kind == "full" else found).source if kind == "weights" else None,
        weights=weights,
    )


def exceeds(found: Contents, needed: Contents) -> bool:
    """Return whether a rewrite would leave less in a file than it holds now."""
    return not holds(reachable(found, needed), found)


def holds_more(record: Record, needed: Contents) -> bool:
    """Return whether a rewrite would leave less in the file of a record than it holds now.

    Names in ``drop`` of which an earlier rewrite has noted that no weight has them do not count.
    """
    drop = tuple(name for name in needed.dropped if not covered(name, record.reduced.get("unknown", ())))
    return exceeds(held(record), replace(needed, drop=drop, reference=None))
