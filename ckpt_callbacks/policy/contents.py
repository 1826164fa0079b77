"""The contents that a retention rule needs of the checkpoints that it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from ..errors import PolicyError
from .argument_names import suggests_fields
from .shards import Shards, as_shards
from .spelling import closest, near

KINDS = ("full", "weights")  # from the largest to the smallest
WHOLE_NUMBERS = ("int8", "int4")
DTYPES = ("fp32", "bf16", "fp16", *WHOLE_NUMBERS)
COMPRESSIONS = ("auto", "zstd", "none")
SOURCES = ("model", "ema", "swa")
PARAMETERS = ("all", "trainable")
_OTHER_NAMES = {
    "float32": "fp32", "float": "fp32", "single": "fp32", "32": "fp32", "torch.float32": "fp32",
    "bfloat16": "bf16", "torch.bfloat16": "bf16", "float16": "fp16", "half": "fp16", "16": "fp16",
    "torch.float16": "fp16", "torch.int8": "int8", "8": "int8", "8bit": "int8", "q8": "int8", "4": "int4",
    "4bit": "int4", "q4": "int4",
}  # fmt: skip


@suggests_fields
@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    A checkpoint is saved as full or as weights. What else is said here is done later, in the background, to
    checkpoints that the run does not resume from; see `docs/contents.md`.

    Args:
        kind: ``"full"`` for all that a run needs to continue, or ``"weights"`` for the weights alone.
        dtype: ``"fp32"``, ``"bf16"`` or ``"fp16"`` to round the weights; wider ones only, and never the optimizer's
            state. A tensor with a value that is out of range keeps its type. ``"int8"`` or ``"int4"``, with
            ``kind="weights"``, to store matrices and kernels as whole numbers with a scale for each output channel;
            `ckpt_callbacks.load_weights` reads them. None to leave them as they are.
        drop: The weights to leave out, by name, by the name of a part of the model, or with ``*`` for any text:
            ``"backbone"`` or ``("*.running_mean", "*.running_var")``.
        compression: ``"zstd"`` to compress the file without loss, or ``"auto"`` to do so if it gains at least 5 %. It
            gets another name, and `ckpt_callbacks.open` reads it. None or ``"none"`` for a native file.
        reference: Where weights that are left out can be found again, such as the name of a pretrained model. It is
            only noted.
        source: For a run with averaged weights: ``"ema"`` or ``"swa"`` for the averages, ``"model"`` for the weights
            that are trained. None for what the framework loads from the file. Only with weights alone.
        weights: ``"trainable"`` to leave out the parameters that were frozen when the checkpoint was saved, such as the
            base of an adapter; ``"all"`` otherwise.
        shards: ``{"max_size": "5 GB"}`` to split a larger file into several, none of them larger unless a single tensor
            is. They lie in a folder that takes the file's place, with an index, as other programs read them: see
            `docs/contents.md`. Only with weights alone.
    """

    kind: str = "full"
    dtype: str | None = None
    drop: tuple[str, ...] | str = ()
    reference: str | None = None
    compression: str | None = None
    source: str | None = None
    weights: str = "all"
    shards: Shards | Mapping[str, int | str] | None = None

    def __post_init__(self) -> None:
        self._check("kind", KINDS)
        if self.dtype is not None:
            self._check("dtype", DTYPES)
        if self.compression is not None:
            self._check("compression", COMPRESSIONS)
        if self.dtype in WHOLE_NUMBERS and self.kind == "full":
            raise PolicyError(
                f"Contents: dtype is {self.dtype!r}, with kind 'full'; expected kind='weights' as well: no run resumes "
                "from whole numbers"
            )
        self._check("weights", PARAMETERS)
        if self.source is not None:
            self._check("source", SOURCES)
            if self.kind != "weights":
                raise PolicyError(
                    f"Contents: source is {self.source!r} with kind={self.kind!r}, which holds what the run needs to "
                    "continue from; expected kind='weights'"
                )
        if self.shards is not None:
            self._check_shards(as_shards("Contents", self.shards))
        object.__setattr__(self, "drop", _as_names(self.drop))
        if self.reference is not None and not (isinstance(self.reference, str) and self.reference.strip()):
            raise PolicyError(f"Contents: reference is {self.reference!r}; expected a text, such as 'timm/vit_base'")
        if self.reference is not None and not (self.dropped or self.weights == "trainable"):
            raise PolicyError(
                f"Contents: reference is {self.reference!r}, but nothing is left out; expected drop, or "
                "weights='trainable', as well"
            )

    @property
    def dropped(self) -> tuple[str, ...]:
        """The patterns of ``drop``."""
        assert isinstance(self.drop, tuple)
        return self.drop

    @property
    def is_compressed(self) -> bool:
        """Whether the file is to be compressed, or may be."""
        return self.compression not in (None, "none")

    @property
    def split(self) -> Shards | None:
        """The files into which it is split if it is larger than they may be."""
        assert self.shards is None or isinstance(self.shards, Shards)
        return self.shards

    @property
    def is_packed(self) -> bool:
        """Whether the file is to be compressed or split, or may be, so that it gets another name."""
        return self.is_compressed or self.shards is not None

    def __str__(self) -> str:
        """Return it in a few words, such as ``weights, bf16``."""
        without = f"without {', '.join(self.dropped)}" if self.dropped else ""
        packed = f"compression {self.compression}" if self.is_compressed else ""
        trainable = "" if self.weights == "all" else self.weights
        shards = str(self.shards) if self.shards is not None else ""
        parts = (self.kind, trainable, self.source or "", self.dtype or "", without, packed, shards)
        return ", ".join(filter(None, parts))

    def __repr__(self) -> str:
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Contents({', '.join(f'{name}={value!r}' for name, value in given)})"

    def _check_shards(self, shards: Shards) -> None:
        if self.kind != "weights":
            raise PolicyError(
                f"Contents: shards is {shards!r} with kind={self.kind!r}; expected kind='weights': a run resumes from "
                "one file"
            )
        if self.is_compressed:
            raise PolicyError(
                f"Contents: shards is {shards!r} with compression={self.compression!r}; expected one of the two: other "
                "programs read shards as they are"
            )
        object.__setattr__(self, "shards", shards)

    def _check(self, name: str, known: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if not isinstance(value, str) or value not in known:
            raise PolicyError(
                f"Contents: {name} is {value!r}; expected one of {', '.join(known)}{_meant(value, known)}"
            )


def as_contents(where: str, value: object) -> Contents:
    """Return the contents that a user gave: a `Contents`, its kind, or a mapping of its fields.

    Args:
        where: The place in the message, such as ``"KeepBest"``.
        value: What was given.

    Raises:
        PolicyError: It is none of these, or is wrong.
    """
    if isinstance(value, Contents):
        return value
    if isinstance(value, str) and value in KINDS:
        return Contents(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        try:
            return Contents(**value)
        except (PolicyError, TypeError) as error:
            raise PolicyError(f"{where}: contents: {str(error).removeprefix('Contents: ')}") from None
    raise PolicyError(
        f"{where}: contents is {value!r}; expected one of {', '.join(KINDS)}, or a Contents, such as "
        f"Contents(kind='weights', dtype='bf16'){near(value, KINDS) if isinstance(value, str) else ''}"
    )


def _meant(value: object, known: tuple[str, ...]) -> str:
    """Return the end of a message that names the word that may be meant."""
    named = _OTHER_NAMES.get(str(value))
    meant = named if named in known else closest(value, known)
    return f"; did you mean {meant!r}?" if meant else ""


def _as_names(value: object) -> tuple[str, ...]:
    """Return what was given for ``drop``: names, or a single one."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable) or isinstance(names, bytes | dict):
        names = [None]
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            what = "" if len(found) == 1 else f", with {name!r} in it"
            raise PolicyError(
                f"Contents: drop is {value!r}{what}; expected names of weights or of parts of the model, such as "
                "'backbone' or ('encoder', '*.running_mean')"
            )
        if not name.strip("*./"):
            raise PolicyError(f"Contents: drop is {value!r}, which leaves no weight; expected some of the names")
    return tuple(dict.fromkeys(found))


FULL, WEIGHTS = Contents("full"), Contents("weights")
