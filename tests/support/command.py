"""The command ``ckpt``, run in the test's own process, where torch or Keras is imported already."""

from click.testing import CliRunner, Result

from ckpt_callbacks.cli import main


def ckpt(*arguments: object) -> Result:
    """Run the command; require that it raises nothing but its exit."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
