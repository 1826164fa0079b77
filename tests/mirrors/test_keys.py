"""The keys of a mirror's objects."""

from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.mirrors.keys import checkpoint_key, entry_key, number_of

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255).filter(
    lambda name: len(name.encode()) <= 255 and name not in (".", "..")
)


def test_the_newest_entry_is_listed_first():
    keys = [entry_key(number) for number in (1, 9, 10, 10_000)]
    assert sorted(keys) == keys[::-1] and [number_of(key) for key in keys] == [1, 9, 10, 10_000]


def test_a_usual_name_stays_readable():
    key = checkpoint_key("xxh128:0123456789abcdef0123", "epoch=3-step=300.ckpt")
    assert key == "checkpoints/0123456789abcdef/epoch=3-step=300.ckpt"
    assert checkpoint_key("xxh128:0123456789abcdef0123", "a.dir", "shards/0 1.bin") == (
        "checkpoints/0123456789abcdef/a.dir/shards/0%201.bin"
    )


def test_the_hidden_file_of_a_distributed_checkpoint_is_not_hidden_there():
    key = checkpoint_key("xxh128:0123456789abcdef0123", "a.ckpt", ".metadata")
    assert key == "checkpoints/0123456789abcdef/a.ckpt/%2Emetadata"


@given(NAMES, NAMES)
def test_every_name_of_a_file_system_gets_a_key_that_every_store_takes(one, other):
    digest = "xxh128:0123456789abcdef0123"
    keys = [checkpoint_key(digest, name) for name in (one, other)]
    for key in keys:
        assert len(key.rpartition("/")[2]) <= 200 and key.isascii() and key.isprintable() and "\\" not in key
        assert not any(name.startswith(".") for name in key.split("/"))
    assert (keys[0] == keys[1]) == (one == other)
