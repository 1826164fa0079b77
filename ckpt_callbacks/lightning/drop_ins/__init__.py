"""Lightning's own callbacks under their names and arguments, with this package's saves and exact resumes."""

from ..private_names import check_drop_in_names

check_drop_in_names()  # before the modules that import some of them

from .early_stopping import EarlyStopping  # noqa: E402
from .model_checkpoint import ModelCheckpoint  # noqa: E402

__all__ = ["EarlyStopping", "ModelCheckpoint"]
