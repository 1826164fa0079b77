"""The share of the slow tests that CI runs."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.shares import left_out

names = st.sets(st.builds("{}[{}]".format, st.sampled_from("abc"), st.integers(0, 40)), max_size=60)


@given(variants=names, parts=st.integers(1, 9), seed=st.text(max_size=3))
def test_some_variants_of_each_test_run_and_which_ones_the_seed_says(variants, parts, seed):
    left = left_out(variants, parts, seed)
    run = variants - left
    assert left <= variants and {name[0] for name in run} == {name[0] for name in variants}
    for test in {name[0] for name in variants}:
        all_of = sum(name[0] == test for name in variants)
        assert sum(name[0] == test for name in run) == -(-all_of // parts)
    assert left_out(list(variants)[::-1], parts, seed) == left


def test_all_variants_have_their_turn():
    variants = [f"test[{number}]" for number in range(9)]
    assert set.intersection(*(left_out(variants, 3, str(seed)) for seed in range(40))) == set()
