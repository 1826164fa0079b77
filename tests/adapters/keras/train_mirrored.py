"""A training script that runs on two logical devices and resumes: ``DIRPATH``."""

import sys

import tensorflow as tf

from tests.adapters.keras.task import EACH_EPOCH_AND_STEP, checkpoint, fit, model, same, updates

[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train(name, **settings):
    with strategy.scope():
        trained = model()
    callback = checkpoint(f"{sys.argv[1]}/{name}", EACH_EPOCH_AND_STEP, **settings)
    fit(trained, callback, epochs=2)
    return trained, callback


whole, first = train("first")
assert [r.step for r in first.records()] == [3, 4, 6, 8] and updates(whole) == 8
resumed, _ = train("resumed", resume=first.records()[2].path)
assert same(whole, resumed) and updates(resumed) == 8
print("mirrored")
