"""tinycnn: a small convolutional network for images, every layer written by hand."""

from tinycnn.callbacks import Callback, History
from tinycnn.data import Dataset, load, load_digits
from tinycnn.model_file import load_model, save_model
from tinycnn.network import CNN
from tinycnn.optim import SGD, Adam, AdamW, Optimizer
from tinycnn.schedules import OneCycle, cosine_decay, linear_decay
from tinycnn.training import evaluate, fit, train

__version__ = "0.1.0"

__all__ = [
    "CNN",
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "Dataset",
    "History",
    "OneCycle",
    "Optimizer",
    "cosine_decay",
    "evaluate",
    "fit",
    "linear_decay",
    "load",
    "load_digits",
    "load_model",
    "save_model",
    "train",
]
