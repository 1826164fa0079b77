"""The private names of Keras and TensorFlow that this adapter and its file format rely on."""

from __future__ import annotations

import functools
import sys

import keras

from ..runtime.private_names import PrivateName, check

_ADAPTERS = "keras.src.trainers.data_adapters"
_CALLBACK_LIST = "keras.src.callbacks.callback_list.CallbackList"
_EPOCH_ITERATOR = "keras.src.trainers.epoch_iterator.EpochIterator"
_GLOBAL_STATE = "keras.src.backend.common.global_state"
_SAVING = "keras.src.saving.saving_lib"
_H5_STORE = f"{_SAVING}.H5IOStore"

# The supported versions are those in `pyproject.toml`.
KERAS = "keras>=3.12,<4"
TENSORFLOW = "tensorflow>=2.18"

RELIED_ON: tuple[PrivateName, ...] = (
    ("keras.src.backend", "compute_output_spec"),
    ("keras.Model", "_flatten_layers"),
    ("keras.Model", "_initial_epoch"),
    ("keras.Model", "_symbolic_build"),
    ("keras.Model", "test_function"),
    ("keras.Model", "train_function"),
    ("keras.Model.evaluate", "epoch_iterator"),
    ("keras.Model.fit", "callbacks"),
    ("keras.Model.fit", "epoch_iterator"),
    ("keras.Model.fit", "shuffle"),
    ("keras.Model.fit", "validation_data"),
    ("keras.callbacks.ModelCheckpoint", "_batches_seen_since_last_saving"),
    ("keras.callbacks.ModelCheckpoint", "_last_batch_seen"),
    ("keras.callbacks.SwapEMAWeights", "_ema_weights_in_model"),
    ("keras.callbacks.TensorBoard", "_global_test_batch"),
    ("keras.callbacks.TensorBoard", "_global_train_batch"),
    ("keras.layers.Layer", "_trainable_variables"),
    ("keras.optimizers.Optimizer", "_iterations"),
    ("keras.optimizers.Optimizer", "_model_variables_moving_average"),
    ("keras.optimizers.Optimizer", "_trainable_variables"),
    ("keras.src.legacy.saving.legacy_h5_format", "load_optimizer_weights_from_hdf5_group"),
    ("keras.src.random.seed_generator", "global_seed_generator"),
    ("keras.src.saving.keras_saveable", "KerasSaveable"),
    (_SAVING, "DiskIOStore"),
    (_SAVING, "_load_state"),
    (_SAVING, "_save_state"),
    ("keras.src.utils.rng_utils", "get_random_seed"),
    (_CALLBACK_LIST, "_flush_futures"),
    (_CALLBACK_LIST, "callbacks"),
    (_EPOCH_ITERATOR, "_enumerate_iterator"),
    (_EPOCH_ITERATOR, "_get_iterator"),
    (_EPOCH_ITERATOR, "_interrupted_warning"),
    (_EPOCH_ITERATOR, "data_adapter"),
    (_EPOCH_ITERATOR, "num_batches"),
    (_EPOCH_ITERATOR, "steps_per_epoch"),
    (f"{_ADAPTERS}.array_data_adapter", "ArrayDataAdapter"),
    (f"{_ADAPTERS}.generator_data_adapter", "GeneratorDataAdapter"),
    (f"{_ADAPTERS}.py_dataset_adapter", "PyDatasetAdapter"),
    (f"{_ADAPTERS}.py_dataset_adapter.PyDatasetAdapter", "enqueuer"),
    (f"{_ADAPTERS}.tf_dataset_adapter", "TFDatasetAdapter"),
    (f"{_ADAPTERS}.tf_dataset_adapter.TFDatasetAdapter", "_dataset"),
    (f"{_ADAPTERS}.torch_data_loader_adapter", "TorchDataLoaderAdapter"),
    (f"{_ADAPTERS}.torch_data_loader_adapter.TorchDataLoaderAdapter", "_dataloader"),
)

# What the drop-ins override.
RELIED_ON_BY_DROP_INS: tuple[PrivateName, ...] = (
    ("keras.callbacks.BackupAndRestore", "_save_model"),
    ("keras.callbacks.EarlyStopping", "_is_improvement"),
    ("keras.callbacks.EarlyStopping", "_set_monitor_op"),
    ("keras.callbacks.ModelCheckpoint", "_get_file_path"),
    ("keras.callbacks.ModelCheckpoint", "_is_improvement"),
    ("keras.callbacks.ModelCheckpoint", "_save_model"),
    ("keras.callbacks.ModelCheckpoint", "_set_monitor_op"),
    ("keras.callbacks.ModelCheckpoint", "_should_save_model"),
)

RELIED_ON_WITH_BACKEND: dict[str, tuple[PrivateName, ...]] = {
    "jax": (
        ("keras.Model", "_jax_state"),
        ("keras.Model", "_jax_state_synced"),
        ("keras.Model", "jax_state_sync"),
    ),
    "tensorflow": (("keras.src.backend.tensorflow.trainer.TFEpochIterator", "_distributed_dataset"),),
}

RELIED_ON_IN_TENSORFLOW: tuple[PrivateName, ...] = (
    ("tensorflow.data.Dataset", "_inputs"),
    ("tensorflow.python.data.ops.shuffle_op._ShuffleDataset", "_reshuffle_each_iteration"),
    ("tensorflow.python.data.ops.shuffle_op._ShuffleDataset", "_seed"),
    ("tensorflow.python.data.ops.shuffle_op._ShuffleDataset", "_seed2"),
)

# Without these, variables are read one by one.
USED_FOR_READS_IN_TENSORFLOW: tuple[PrivateName, ...] = (
    ("tensorflow.python.eager.context", "context"),
    ("tensorflow.python.eager.execute", "execute"),
)

# Nothing breaks without these: Keras then writes the files itself, and training waits for it; see `KerasStaging`.
USED_FOR_COPIES: tuple[PrivateName, ...] = (
    ("keras.Variable", "_value"),
    ("keras.src.ops.node", "Node"),
    ("keras.src.optimizers.base_optimizer", "BaseOptimizer"),
    (_GLOBAL_STATE, "get_global_attribute"),
    (_GLOBAL_STATE, "set_global_attribute"),
    (_SAVING, "H5IOStore"),
    (_SAVING, "_save_model_to_fileobj"),
    (_SAVING, "_serialize_model_as_json"),
    (_SAVING, "get_attr_skipset"),
    ("keras.src.saving.serialization_lib", "tf"),
    ("keras.src.utils.tracking", "Tracker"),
    (f"{_SAVING}._save_state", "saveable"),
    (_H5_STORE, "_create_h5_group"),
    (_H5_STORE, "_get_h5_file"),
    (_H5_STORE, "_h5_entry_group"),
    (_H5_STORE, "_h5_entry_initialized"),
    (_H5_STORE, "_h5_entry_path"),
    (_H5_STORE, "h5_file"),
)


@functools.cache
def check_private_names() -> None:
    """Make sure that Keras and TensorFlow have every private name that this adapter requires.

    Raises:
        MissingDependency: An installed version lacks one of them.
    """
    check("keras", KERAS, (*RELIED_ON, *RELIED_ON_WITH_BACKEND.get(keras.backend.backend(), ())))
    if "tensorflow" in sys.modules:
        check("tensorflow", TENSORFLOW, RELIED_ON_IN_TENSORFLOW)


def check_drop_in_names() -> None:
    """Make sure that Keras' own callbacks have every private name that the drop-ins override.

    Raises:
        MissingDependency: The installed version lacks one of them.
    """
    check("keras", KERAS, RELIED_ON_BY_DROP_INS)
