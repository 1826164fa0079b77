"""The division of the memory of a snapshot, which is kept as long as the plan of the file is."""

import gc
import weakref

import keras
import pytest

from ckpt_callbacks.formats.keras.suffix import KERAS
from ckpt_callbacks.keras.model.file_plan import file_plan
from ckpt_callbacks.keras.model_memory import ModelMemory
from tests.adapters.keras.task import ONCE, quick

pytestmark = ONCE


@pytest.mark.parametrize("change", ["the plan", "the size of other arrays", "the memory"])
def test_the_places_are_kept_until_the_plan_or_the_memory_changes(change):
    one, memory = quick(), ModelMemory()
    plan = file_plan(one, KERAS)
    kept = memory.places(plan, 64)
    assert memory.places(plan, 64) is kept
    assert [target.nbytes for target in kept.targets] == plan.sizes == [len(data) for data in kept.data]
    if change == "the plan":
        one.add(keras.layers.Dense(300))
        plan = file_plan(one, KERAS)
    elif change == "the memory":
        memory.reserve(2 * memory.size)
    del kept
    own = 64 if change != "the size of other arrays" else memory.size
    found = memory.places(plan, own)
    assert [target.nbytes for target in found.targets] == plan.sizes and len(found.own) == own
    found.targets[0].array[...] = 7
    held = memory.carve([*plan.sizes, own])[0]
    assert bytes(held) == found.targets[0].array.tobytes(), "the places are in the memory that is held"


def test_neither_a_plan_nor_memory_is_kept_for_nothing():
    memory, plan = ModelMemory(), file_plan(quick(), KERAS)
    array, gone = weakref.ref(memory.places(plan, 0).targets[0].array), weakref.ref(plan)
    memory.release()
    assert array() is None
    memory.places(plan, 0)
    del plan
    gc.collect()
    assert gone() is None
