"""tinycnn on many machines, through Dask: predictions, and training over shards.

In the order of use:

    predicting.py   predict, predict_proba, features: images anywhere, block by block
"""

try:
    import dask.array  # noqa: F401
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tinycnn.dask needs dask and distributed: pip install 'tinycnn[dask]'"
    ) from error

from tinycnn.dask.predicting import features, predict, predict_proba

__all__ = ["features", "predict", "predict_proba"]
