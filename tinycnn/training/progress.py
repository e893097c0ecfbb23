"""What training shows on stderr: a bar where tqdm is installed, else lines."""

from __future__ import annotations

import math
import sys
from typing import Any, TextIO

from tinycnn.training.callbacks import Callback, History, TrainingState

# Seconds until a bar is shown: it must not fail while it is made, or tqdm complains.
FIRST_SHOWN = 0.01

# Of quick epochs, this many get a line; one that takes at least so many seconds gets its own.
LINES = 50
SLOW = 0.5


def progress() -> Callback:
    """Return the best display at hand: a tqdm bar where tqdm is installed, else plain lines.

    Without a stderr, as in programs without a console, nothing is shown.
    """
    if sys.stderr is None:
        return Callback()
    try:
        import tqdm
    except ImportError:
        return ProgressLines(sys.stderr)
    return ProgressBar(tqdm.tqdm)


class Display(Callback):
    """Base of displays: one that cannot be written to any more shows nothing, and training goes on.

    A terminal may be closed while a network trains. Subclasses override the methods below, which
    are called only as long as none of them has failed.
    """

    def __init__(self) -> None:
        self._works = True

    def begin(self, state: TrainingState) -> None:
        """Called before the first epoch."""

    def batch(self) -> None:
        """Called after every batch."""

    def epoch(self, state: TrainingState) -> None:
        """Called after every epoch."""

    def end(self) -> None:
        """Called at the end."""

    def give_up(self) -> None:
        """Called when one of these methods could not write."""

    def on_fit_begin(self, state: TrainingState) -> None:
        """Begin."""
        self._try(self.begin, state)

    def on_batch_end(self, state: TrainingState) -> None:
        """Show that a batch is done."""
        self._try(self.batch)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Show that an epoch is done."""
        self._try(self.epoch, state)

    def on_fit_end(self, state: TrainingState) -> None:
        """End."""
        self._try(self.end)

    def _try(self, show: Any, *arguments: Any) -> None:
        if not self._works:
            return
        try:
            show(*arguments)
        except (OSError, ValueError):  # what a stream raises whose reader or file is gone
            self._works = False
            self.give_up()


class ProgressLines(Display):
    """Writes one line an epoch, or, of hundreds of quick ones, of every second, third, ... one."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def epoch(self, state: TrainingState) -> None:
        """Write the epoch's line, if it gets one."""
        every = math.ceil(state.epochs / LINES)
        chosen = state.epoch % every == 0 or state.epoch in (1, state.epochs)
        if not chosen and state.history.seconds[-1] < SLOW:
            return
        width = len(str(state.epochs))
        line = f"epoch {state.epoch:{width}}/{state.epochs}  {_summary(state.history)}"
        print(f"{line}  {state.history.seconds[-1]:.2f} s", file=self._stream, flush=True)


class ProgressBar(Display):
    """Shows one bar over all batches of all epochs, with the last epoch's numbers beside it."""

    def __init__(self, tqdm: Any) -> None:
        super().__init__()
        self._tqdm = tqdm
        self._bar: Any = None

    def begin(self, state: TrainingState) -> None:
        """Open the bar."""
        done, total = (n * state.batches_per_epoch for n in (state.epoch, state.epochs))
        self._bar = self._tqdm(
            total=total, initial=done, unit="batch", dynamic_ncols=True, delay=FIRST_SHOWN
        )

    def batch(self) -> None:
        """Move the bar by one batch."""
        self._bar.update()

    def epoch(self, state: TrainingState) -> None:
        """Show the epoch's numbers."""
        self._bar.set_description(f"epoch {state.epoch}/{state.epochs}", refresh=False)
        self._bar.set_postfix_str(_summary(state.history))

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:  # or training could not even begin
            self._bar.close()

    def give_up(self) -> None:
        """Keep the bar from trying once more when it is deleted."""
        if self._bar is not None:
            self._bar.disable = True


def _summary(history: History) -> str:
    """One epoch in a few words: the loss, and the validation numbers if there are any."""
    text = f"loss {history.train_loss[-1]:.4f}"
    if history.validation_accuracy:
        text += (
            f"  validation loss {history.validation_loss[-1]:.4f}"
            f"  accuracy {history.validation_accuracy[-1]:.2%}"
        )
    return text
