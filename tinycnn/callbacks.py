"""What can look on while a network trains, and stop it: callbacks, and the progress display."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tinycnn.network import CNN


class History:
    """What training recorded, one entry an epoch; plain lists of floats, ready to plot.

    Attributes
    ----------
    train_loss : list of float
        Mean over the epoch's images of the loss that each had when its batch came up.
    validation_loss, validation_accuracy : list of float
        After the epoch; empty when there are no validation data.
    seconds : list of float
        Wall-clock time of the epoch's training, without validation and callbacks.
    """

    def __init__(self) -> None:
        self.train_loss: list[float] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float] = []
        self.seconds: list[float] = []

    def __repr__(self) -> str:
        lists = ", ".join(f"{name}={values}" for name, values in vars(self).items())
        return f"History({lists})"


class TrainingState:
    """What a callback gets to see.

    Attributes
    ----------
    net : CNN
        The network in training.
    history : History
    epoch : int
        The epoch at hand, counted from 1.
    epochs : int
        How many there will be at most.
    batches_per_epoch : int
    """

    def __init__(
        self, net: CNN, history: History, epoch: int, epochs: int, batches_per_epoch: int
    ) -> None:
        self.net = net
        self.history = history
        self.epoch = epoch
        self.epochs = epochs
        self.batches_per_epoch = batches_per_epoch


class Callback:
    """Base of all callbacks: override what you need, the rest does nothing."""

    def on_fit_begin(self, state: TrainingState) -> None:
        """Called once before the first epoch."""

    def on_batch_end(self, state: TrainingState) -> None:
        """Called after every update of the parameters."""

    def on_epoch_end(self, state: TrainingState) -> bool | None:
        """Called after every epoch, its history recorded. Return True to stop training."""

    def on_fit_end(self, state: TrainingState) -> None:
        """Called once at the end, however training ended: also after an exception."""


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
        total = state.epochs * state.batches_per_epoch
        self._bar = self._tqdm(total=total, unit="batch", dynamic_ncols=True)

    def on_batch_end(self, state: TrainingState) -> None:
        """Move the bar by one batch."""
        self._bar.update()

    def on_epoch_end(self, state: TrainingState) -> None:
        """Show the epoch's numbers."""
        self._bar.set_description(f"epoch {state.epoch}/{state.epochs}", refresh=False)
        self._bar.set_postfix_str(_summary(state.history))

    def on_fit_end(self, state: TrainingState) -> None:
        """Leave the bar as it stands."""
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
