"""The command ``ckpt export``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..errors import ExportDiffers
from ..record import Record
from ..units import rough_size
from . import options
from .local_path import LocalPath
from .output import say
from .records import Listing


@click.command()
@options.run_dir
@options.which
@click.option("--to", type=LocalPath(), help="The file to write; its suffix chooses the format.")
@click.option("--plain", is_flag=True, help="Write the native file, byte for byte, also of a compressed checkpoint.")
@click.option("--model", help="The model's class, as package.module:Class or file.py:Class.")
@click.option("--inputs", type=LocalPath(), help="Sample inputs: a file of numpy.savez.")
@click.option("--int8", is_flag=True, help="Quantize an ONNX model to 8 bits.")
@click.option("--tol", "tolerance", type=click.FloatRange(min=0), help="The relative difference that is allowed.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@options.as_json
def export(
    run_dir: Path, which: str | None, to: Path | None, plain: bool, tolerance: float | None, as_json: bool, **given: Any
) -> None:  # fmt: skip
    """Write a checkpoint as a file that other programs load.

    RUN_DIR and WHICH name the checkpoint, as for `ckpt path`. The suffix of --to chooses the format: .safetensors,
    .onnx, .pt2 (torch.export) or .torchscript; for Keras also .keras, .h5, .weights.h5 or .tflite (LiteRT). Other
    formats than .safetensors need the code of a torch model, as in --model train.py:Net, and sample inputs: the
    module's example_input_array, or a file. The new file is run on them by its own runtime and compared with the
    checkpoint. If it differs by more than --tol, it is not kept, and the exit status is 1.

    With --plain, --to names any file, or a folder; without it, the native file goes into the current folder.
    """
    from ..export import export as write  # here, because it imports numpy

    if to is None and not plain:
        raise click.UsageError("Missing option '--to', or '--plain'.")
    manifest, name = options.locate(run_dir, which)
    record = Listing(manifest, options.policy_of(None, manifest)).find(name)
    if plain or to is None:
        _copy_native(record, to, as_json=as_json, force=given["force"])
        return
    try:
        with _unwound():
            done = write(record, to, tolerance=tolerance, **given)
    except ExportDiffers as error:
        say(f"Error: {error}", err=True)
        raise SystemExit(1) from error
    if as_json:
        facts = {"path": str(done.path), "files": [str(file) for file in done.files], "size": done.size}
        facts |= {"checkpoint": str(done.checkpoint), "compared": done.compared, "any_batch": done.any_batch}
        options.echo_json(
            facts | {"absolute": done.absolute, "relative": done.relative, "tolerance": done.tolerance}
        )  # fmt: skip
        return
    batch = {True: ", for any batch size", False: ", for one batch size", None: ""}[done.any_batch]
    say(f"{done.path}: {rough_size(done.size)} from {done.checkpoint}{batch}")
    say(
        f"largest difference of its {done.compared}: {done.absolute:.2g} absolute, {done.relative:.2g} relative "
        f"(allowed: {done.tolerance:g})"
    )


@contextmanager
def _unwound() -> Iterator[None]:
    """Let a signal that would end the process raise instead, so that no half-written file is left behind."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy_native(record: Record, to: Path | None, *, as_json: bool, force: bool) -> None:
    from ..export.native_copy import copy_native  # here, for the same reason

    path = copy_native(record, to, force=force)
    size = path.stat().st_size
    if as_json:
        options.echo_json({"path": str(path), "checkpoint": str(record.path), "size": size})
    else:
        say(f"{path}: {rough_size(size)}, the native file of {record.path}")
