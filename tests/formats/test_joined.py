"""Small pieces of a file, which are joined without a change of what is written."""

from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks.formats import joined as joining
from ckpt_callbacks.formats.joined import joined

SMALL, JOINED = joining._SMALL, joining._JOINED


@given(st.lists(st.sampled_from([0, 1, 7, SMALL - 1, SMALL, SMALL + 1, JOINED + 1]), max_size=40))
def test_the_bytes_are_the_same_in_the_same_order_and_large_pieces_are_not_copied(sizes):
    pieces = [memoryview(bytes([number]) * size) for number, size in enumerate(sizes)]
    found = list(joined(pieces))
    assert b"".join(found) == b"".join(pieces)
    assert [piece for piece in found if isinstance(piece, memoryview)] == [p for p in pieces if len(p) >= SMALL]
    assert all(len(piece) < JOINED + SMALL for piece in found if isinstance(piece, bytes))


def test_many_small_pieces_become_few():
    assert len(list(joined([bytes(100)] * 10_000))) <= 1 + 10_000 * 100 // JOINED
