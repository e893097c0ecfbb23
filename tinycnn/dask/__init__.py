"""tinycnn on many machines, through Dask: predictions, and training over shards.

In the order of use:

    predicting.py   predict, predict_proba, features: images anywhere, block by block
    parts.py        shards: labelled images that stay where they are made
    crew.py         one question to all shards at a time, and what if a worker is lost
    survey.py       what shards tell before training: labels, weights; standardize
    work.py         what a shard does in a step of training
    fitting.py      fit
    contract.py     train
"""

try:
    import dask.array  # noqa: F401
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tinycnn.dask needs dask and distributed: pip install 'tinycnn[dask]'"
    ) from error

from tinycnn.dask.contract import train
from tinycnn.dask.fitting import fit
from tinycnn.dask.parts import Shards, shards
from tinycnn.dask.predicting import features, predict, predict_proba
from tinycnn.dask.survey import standardize

__all__ = [
    "Shards",
    "features",
    "fit",
    "predict",
    "predict_proba",
    "shards",
    "standardize",
    "train",
]
