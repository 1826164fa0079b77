"""The private names of Lightning and torch that this adapter relies on."""

from __future__ import annotations

import functools

from ..runtime.private_names import PrivateName, check

_CONNECTORS = "lightning.pytorch.trainer.connectors"
_FIT_LOOP = "lightning.pytorch.loops.fit_loop._FitLoop"
_EPOCH_LOOP = "lightning.pytorch.loops.training_epoch_loop._TrainingEpochLoop"
_EVALUATION_LOOP = "lightning.pytorch.loops.evaluation_loop._EvaluationLoop"
_COMBINED_LOADER = "lightning.pytorch.utilities.combined_loader"
_MODEL_CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"
_RESULT = f"{_CONNECTORS}.logger_connector.result"

# The supported versions are those in `pyproject.toml`.
LIGHTNING = "lightning>=2.6,<2.7,!=2.6.2,!=2.6.3"
TORCH = "torch>=2.6"

RELIED_ON: tuple[PrivateName, ...] = (
    ("lightning.fabric.utilities.data", "_set_sampler_epoch"),
    ("lightning.fabric.utilities.types", "_Stateful"),
    ("lightning.pytorch.LightningModule", "_current_fx_name"),
    ("lightning.pytorch.Trainer", "_logger_connector"),
    ("lightning.pytorch.Trainer", "_results"),
    ("lightning.pytorch.Trainer", "_run"),
    ("lightning.pytorch.Trainer", "_signal_connector"),
    ("lightning.pytorch.Trainer._run", "ckpt_path"),
    ("lightning.pytorch.Trainer._run", "weights_only"),
    ("lightning.pytorch.callbacks.BatchSizeFinder", "_early_exit"),
    ("lightning.pytorch.callbacks.LearningRateFinder", "_early_exit"),
    ("lightning.pytorch.callbacks.WeightAveraging", "_average_model"),
    ("lightning.pytorch.callbacks.WeightAveraging", "_swap_models"),
    ("lightning.pytorch.core.optimizer", "_MockOptimizer"),
    ("lightning.pytorch.plugins.io.wrapper", "_WrappingCheckpointIO"),
    ("lightning.pytorch.plugins.io.wrapper._WrappingCheckpointIO", "_checkpoint_io"),
    ("lightning.pytorch.trainer.call", "_call_lightning_module_hook"),
    ("lightning.pytorch.trainer.setup._init_debugging_flags", "_val_check_time_interval"),
    (_COMBINED_LOADER, "_shutdown_workers_and_reset_iterator"),
    (f"{_COMBINED_LOADER}.CombinedLoader", "_load_state_dicts"),
    (f"{_COMBINED_LOADER}.CombinedLoader", "_mode"),
    (_EPOCH_LOOP, "_is_training_done"),
    (_EPOCH_LOOP, "_num_ready_batches_reached"),
    (_EPOCH_LOOP, "_results"),
    (_EPOCH_LOOP, "_should_accumulate"),
    (_EPOCH_LOOP, "_should_check_val_fx"),
    (_EVALUATION_LOOP, "_combined_loader"),
    (_EVALUATION_LOOP, "_has_run"),
    (_EVALUATION_LOOP, "_restart_stage"),
    (_EVALUATION_LOOP, "_results"),
    (_FIT_LOOP, "_can_stop_early"),
    (_FIT_LOOP, "_combined_loader"),
    (_FIT_LOOP, "_combined_loader_states_to_load"),
    (_FIT_LOOP, "_data_fetcher"),
    (_FIT_LOOP, "_restarting"),
    (_FIT_LOOP, "_resuming_from_checkpoint"),
    (_RESULT, "_Metadata"),
    (_RESULT, "_ResultMetric"),
    (_RESULT, "_Sync"),
    (f"{_RESULT}._ResultMetric", "_forward_cache"),
    (f"{_RESULT}._ResultMetric", "_update_count"),
    (f"{_CONNECTORS}.callback_connector", "_validate_callbacks_list"),
    (f"{_CONNECTORS}.callback_connector._validate_callbacks_list", "callbacks"),
    (f"{_CONNECTORS}.checkpoint_connector", "_CheckpointConnector"),
    (f"{_CONNECTORS}.checkpoint_connector._CheckpointConnector", "_ckpt_path"),
    (f"{_CONNECTORS}.checkpoint_connector._CheckpointConnector", "_loaded_checkpoint"),
    (f"{_CONNECTORS}.checkpoint_connector._CheckpointConnector", "_parse_ckpt_path"),
    (f"{_CONNECTORS}.checkpoint_connector._CheckpointConnector", "_restore_modules_and_callbacks"),
    (f"{_CONNECTORS}.checkpoint_connector._CheckpointConnector", "_select_ckpt_path"),
    (f"{_CONNECTORS}.checkpoint_connector._CheckpointConnector", "_user_managed"),
    ("lightning.pytorch.Trainer", "_checkpoint_connector"),
    (f"{_CONNECTORS}.logger_connector.logger_connector._LoggerConnector", "_first_loop_iter"),
    (f"{_CONNECTORS}.signal_connector", "_HandlersCompose"),
    (f"{_CONNECTORS}.signal_connector", "_SignalConnector"),
    (f"{_CONNECTORS}.signal_connector._SignalConnector", "_sigterm_notifier_fn"),
)

# What the drop-ins override and use.
RELIED_ON_BY_DROP_INS: tuple[PrivateName, ...] = (
    ("lightning.fabric.utilities.cloud_io", "_is_local_file_protocol"),
    ("lightning.fabric.utilities.types", "_PATH"),
    (_MODEL_CHECKPOINT, "_defer_save_until_validation"),
    (_MODEL_CHECKPOINT, "_enable_version_counter"),
    (_MODEL_CHECKPOINT, "_every_n_epochs"),
    (_MODEL_CHECKPOINT, "_every_n_train_steps"),
    (_MODEL_CHECKPOINT, "_find_last_checkpoints"),
    (_MODEL_CHECKPOINT, "_get_metric_interpolated_filepath_name"),
    (_MODEL_CHECKPOINT, "_last_checkpoint_saved"),
    (_MODEL_CHECKPOINT, "_last_global_step_saved"),
    (_MODEL_CHECKPOINT, "_link_checkpoint"),
    (_MODEL_CHECKPOINT, "_monitor_candidates"),
    (_MODEL_CHECKPOINT, "_remove_checkpoint"),
    (_MODEL_CHECKPOINT, "_save_checkpoint"),
    (_MODEL_CHECKPOINT, "_save_last_checkpoint"),
    (_MODEL_CHECKPOINT, "_save_none_monitor_checkpoint"),
    (_MODEL_CHECKPOINT, "_save_topk_checkpoint"),
    (_MODEL_CHECKPOINT, "_should_save_on_exception"),
    (_MODEL_CHECKPOINT, "_should_save_on_train_epoch_end"),
    (_MODEL_CHECKPOINT, "_should_skip_saving_checkpoint"),
    (_MODEL_CHECKPOINT, "_train_time_interval"),
    (_MODEL_CHECKPOINT, "_update_best_and_save"),
)

RELIED_ON_IN_TORCH: tuple[PrivateName, ...] = (
    ("torch.Tensor", "_version"),
    ("torch.nn.Module", "_load_from_state_dict"),
    ("torch.nn.Module", "_load_state_dict_pre_hooks"),
)


@functools.cache
def check_private_names() -> None:
    """Make sure that Lightning and torch have every private name that this adapter uses.

    Raises:
        MissingDependency: An installed version lacks one of them.
    """
    check("lightning", LIGHTNING, RELIED_ON)
    check("torch", TORCH, RELIED_ON_IN_TORCH)


def check_drop_in_names() -> None:
    """Make sure that Lightning has every private name that the drop-ins override and use.

    Raises:
        MissingDependency: The installed version lacks one of them.
    """
    check("lightning", LIGHTNING, RELIED_ON_BY_DROP_INS)
