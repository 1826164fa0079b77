"""The names of files that people write, as the original and the drop-in make them."""

import pytest

from tests.drop_ins.lightning_names import NAMES
from tests.drop_ins.lightning_patterns import formatted, listing, metrics_of, same, shown, train
from tests.drop_ins.lightning_runs import BOTH


def test_each_template_gives_the_name_that_the_original_gives():
    for template, inserts, monitor, name in NAMES:
        found = {
            formatted(kind(filename=template, auto_insert_metric_name=inserts), template, monitor)
            for kind in BOTH.values()
        }
        assert found == {f"{name}.ckpt"}, template


def files_of(template, inserts, monitor, last=None):
    """Return a script of two epochs that keeps two files, or one where nothing is monitored."""

    def script(kind, folder):
        callback = kind(
            folder, template, monitor=monitor, save_top_k=2 if monitor else 1, save_last=True,
            auto_insert_metric_name=inserts,
        )  # fmt: skip
        callback.CHECKPOINT_NAME_LAST = last or callback.CHECKPOINT_NAME_LAST
        train(callback, metrics=metrics_of(template, monitor))
        return listing(folder), shown(callback)

    return script


@pytest.mark.parametrize(
    ("template", "inserts", "monitor"),
    [
        pytest.param(*row, id=str(row[0]), marks=() if number % 20 == 2 else pytest.mark.slow)
        for number, (*row, _) in enumerate(NAMES)
    ],
)
def test_a_fit_writes_the_files_that_it_writes_with_the_original(tmp_path, template, inserts, monitor):
    same(tmp_path, files_of(template, inserts, monitor))


@pytest.mark.slow
@pytest.mark.parametrize("last", ["{epoch}-{val_loss:.2f}-last", "{epoch}-last", "newest"])
def test_the_last_file_may_have_a_template_of_its_own(tmp_path, last):
    files, _ = same(tmp_path, files_of("{epoch}-{val_loss:.2f}", True, "val_loss", last))
    assert len(files) == 3
