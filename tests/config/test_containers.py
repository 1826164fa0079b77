"""Documents in containers of other libraries, such as Hydra's."""

from collections import UserDict, UserList
from collections.abc import MutableMapping, MutableSequence
from types import MappingProxyType

import pytest

from ckpt_callbacks import ConfigError, Every, KeepLast, Metric, Patience, Policy, PolicyError
from ckpt_callbacks.config.arguments import build_config
from ckpt_callbacks.runtime.plain_values import plain


class DictConfig(MutableMapping):
    """As in OmegaConf: what it holds is wrapped when it is read."""

    def __init__(self, content):
        self._content = dict(content)

    def __getitem__(self, key):
        return wrapped(self._content[key])

    def __setitem__(self, key, value):
        self._content[key] = value

    def __delitem__(self, key):
        del self._content[key]

    def __iter__(self):
        return iter(self._content)

    def __len__(self):
        return len(self._content)


class ListConfig(MutableSequence):
    def __init__(self, content):
        self._content = list(content)

    def __getitem__(self, index):
        return wrapped(self._content[index])

    def __setitem__(self, index, value):
        self._content[index] = value

    def __delitem__(self, index):
        del self._content[index]

    def __len__(self):
        return len(self._content)

    def insert(self, index, value):
        self._content.insert(index, value)


def wrapped(value):
    return DictConfig(value) if isinstance(value, dict) else ListConfig(value) if isinstance(value, list) else value


def user(value):
    if isinstance(value, dict):
        return UserDict({key: user(part) for key, part in value.items()})
    return UserList(map(user, value)) if isinstance(value, list) else value


def read_only(value):
    if isinstance(value, dict):
        return MappingProxyType({key: read_only(part) for key, part in value.items()})
    return tuple(map(read_only, value)) if isinstance(value, list) else value


DOCUMENT = {
    "metrics": {
        "val": {"monitor": "val_loss", "mode": "min", "smoothing": {"ema": 0.5}},
        "both": {"monitor": {"a": 0.5, "b": 0.5}, "mode": "max"},
        "either": {"monitor": ["train_loss", "loss"], "mode": "min"},
    },
    "save": [{"every": {"epochs": 1}}, {"improves": "val"}, {"all": [{"every": {"steps": 5}}, {"improves": "both"}]}],
    "keep": [{"last": 3}, {"best": {"n": 2, "by": "val"}}],
    "stop": [{"patience": {"by": "val", "checks": 5}}, {"non_finite": {"monitor": ["train_loss", "loss"]}}],
    "metadata": {"data": {"name": "digits", "folds": [1, 2]}},
}


@pytest.mark.parametrize("wrap", [wrapped, user, read_only])
def test_a_document_in_other_containers_is_the_same_policy(wrap):
    found, expected = (build_config("test", "runs/a", policy) for policy in (wrap(DOCUMENT), DOCUMENT))
    assert found == expected and type(found.settings.metadata["data"]) is dict


@pytest.mark.parametrize("wrap", [wrapped, user, read_only])
def test_mistakes_in_other_containers_are_named_as_in_built_in_ones(wrap):
    wrong = {**DOCUMENT, "save": [{"every": {"epoch": 1}}, {"improves": "vall"}]}
    with pytest.raises(ConfigError) as expected:
        build_config("test", "runs/a", wrong)
    with pytest.raises(ConfigError) as found:
        build_config("test", "runs/a", wrap(wrong))
    assert str(found.value) == str(expected.value)


def test_rules_that_are_built_with_other_containers_are_equal():
    for names in (["a", "b"], {"a": 1.0, "b": 2.0}, [["a", 1.0], ["b", 2.0]]):
        assert Metric(wrapped(names), mode="min") == Metric(names, mode="min")


@pytest.mark.parametrize("wrap", [list, ListConfig, tuple])
def test_a_list_of_rules_says_how_to_combine_them(wrap):
    with pytest.raises(PolicyError, match=r"save is .*combine several with \|"):
        Policy(save=wrap([Every(epochs=1), Every(steps=5)]))
    with pytest.raises(PolicyError, match=r"keep is .*combine several with \|"):
        Policy(save=Every(epochs=1), keep=wrap([KeepLast(1)]))
    with pytest.raises(PolicyError, match=r"stop is .*combine several with \|"):
        Policy(save=Every(epochs=1), stop=wrap([Patience(Metric("a", mode="min"), 2)]))
    with pytest.raises(PolicyError) as caught:
        Policy(save=wrap([1]))
    assert "combine" not in str(caught.value)


def test_metadata_in_other_containers_keeps_its_form():
    assert plain(wrapped({"a": [1, {"b": [2]}]})) == {"a": [1, {"b": [2]}]}
