"""``main``: runs one command, and says in one line what went wrong."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinycnn.cli import streams
from tinycnn.cli.evaluate import run_evaluate
from tinycnn.cli.export import run_export
from tinycnn.cli.info import run_info
from tinycnn.cli.parser import EXIT_ERROR, Command, build_parser
from tinycnn.cli.predict import run_predict
from tinycnn.cli.report import run_report
from tinycnn.cli.train import run_train
from tinycnn.cli.wording import in_options
from tinycnn.unusual import UnusualImagesWarning

COMMANDS: dict[str, Command] = {
    "train": run_train,
    "evaluate": run_evaluate,
    "predict": run_predict,
    "report": run_report,
    "info": run_info,
    "export": run_export,
}

# What a shell reports for programs that Ctrl-C or a closed pipe has ended.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

ERRORS = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        What was typed after ``tinycnn``.

    Returns
    -------
    int
        0; 1 if ``predict`` could not read some images; 2 for bad input; 130 after Ctrl-C; 141 if
        nobody reads the output any more.
    """
    streams.prepare()
    try:
        arguments = build_parser(COMMANDS).parse_args(argv)
        with _warnings_in_one_line():
            return arguments.run(arguments)  # type: ignore[no-any-return]
    except BrokenPipeError:
        streams.silence(sys.stdout)
        return EXIT_BROKEN_PIPE
    except SystemExit:  # after --help, which argparse leaves in the buffer
        streams.silence_if_failed(sys.stdout)
        raise
    except ERRORS as error:
        streams.silence_if_failed(sys.stdout)
        streams.complain(f"tinycnn: error: {_one_line(error)}")
        return EXIT_ERROR
    except KeyboardInterrupt as interrupt:
        streams.complain(f"tinycnn: interrupted: {interrupt or 'nothing was changed'}")
        return EXIT_INTERRUPTED


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Tell warnings as errors are told, and always those about the images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UnusualImagesWarning)
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Take the place of Python's own function of this kind."""
    streams.complain(f"tinycnn: warning: {_one_line(message)}")


def _one_line(error: BaseException | str) -> str:
    """Tell an error in one line, whatever it is."""
    if isinstance(error, MemoryError):
        return (
            f"not enough memory{f' ({error})' if str(error) else ''}; use smaller images "
            "(--image-size 64 64), fewer --channels or a smaller --batch-size"
        )
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return in_options(" ".join(str(error).split())) or type(error).__name__
