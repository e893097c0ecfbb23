"""What training shows on stderr: a bar where tqdm is installed, else a line an epoch."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tinycnn.training.callbacks import Callback, History, TrainingState


def progress() -> Callback:
    """Return the best display at hand: a tqdm bar where tqdm is installed, else plain lines."""
    try:
        import tqdm
    except ImportError:
        return ProgressLines(sys.stderr)
    return ProgressBar(tqdm.tqdm)


class ProgressLines(Callback):
    """Writes one line an epoch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def on_epoch_end(self, state: TrainingState) -> None:
        """Write the epoch's line."""
        width = len(str(state.epochs))
        line = f"epoch {state.epoch:{width}}/{state.epochs}  {_summary(state.history)}"
        print(f"{line}  {state.history.seconds[-1]:.2f} s", file=self._stream, flush=True)


class ProgressBar(Callback):
    """Shows one bar over all batches of all epochs, with the last epoch's numbers beside it."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def on_fit_begin(self, state: TrainingState) -> None:
        """Open the bar."""
        done, total = (n * state.batches_per_epoch for n in (state.epoch, state.epochs))
        self._bar = self._tqdm(total=total, initial=done, unit="batch", dynamic_ncols=True)

    def on_batch_end(self, state: TrainingState) -> None:
        """Move the bar by one batch."""
        self._bar.update()

    def on_epoch_end(self, state: TrainingState) -> None:
        """Show the epoch's numbers."""
        self._bar.set_description(f"epoch {state.epoch}/{state.epochs}", refresh=False)
        self._bar.set_postfix_str(_summary(state.history))

    def on_fit_end(self, state: TrainingState) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:  # or training could not even begin
            self._bar.close()


def _summary(history: History) -> str:
    """One epoch in a few words: the loss, and the validation numbers if there are any."""
    text = f"loss {history.train_loss[-1]:.4f}"
    if history.validation_accuracy:
        text += (
            f"  validation loss {history.validation_loss[-1]:.4f}"
            f"  accuracy {history.validation_accuracy[-1]:.2%}"
        )
    return text
