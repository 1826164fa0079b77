"""ONNX files with weights of 8 bits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from .onnx_runtime import OnnxModel


def quantize_file(path: Path, names: Sequence[str], calibration: Sequence[np.ndarray] | None) -> None:
    """Quantize a model in place.

    Args:
        path: The file.
        names: The names of its inputs, if it may have them in another order.
        calibration: As for `quantize`, in order.
    """
    quantize(path, None if calibration is None else OnnxModel(path, names).feeds(calibration))


def quantize(path: Path, calibration: Mapping[str, np.ndarray] | None) -> None:
    """Quantize a model in place.

    Args:
        path: The file.
        calibration: Inputs whose activations set the ranges (static quantization, per channel, symmetric as TensorRT
            needs it); None to find the ranges at each call (dynamic quantization).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    quantized = path.with_name(f"{path.name}.int8")
    if calibration is None:
        quantize_dynamic(path, quantized, weight_type=QuantType.QInt8, per_channel=True)
    else:
        quantize_static(
            path, quantized, _once(calibration), quant_format=QuantFormat.QDQ, per_channel=True,
            weight_type=QuantType.QInt8, activation_type=QuantType.QInt8, extra_options={"ActivationSymmetric": True},
        )  # fmt: skip
    os.replace(quantized, path)


def _once(calibration: Mapping[str, np.ndarray]) -> object:
    """Return a reader of calibration data that yields the inputs once."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[dict[str, np.ndarray]] = iter([dict(calibration)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._left, None)

    return Reader()
