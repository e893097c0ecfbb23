"""tinycnn for scikit-learn: :class:`CNNClassifier`, an estimator like any other."""

try:
    from tinycnn.sklearn.classifier import CNNClassifier
except ImportError as error:
    raise ImportError(
        "tinycnn.sklearn needs scikit-learn 1.6 or later: pip install 'tinycnn[sklearn]'"
    ) from error

__all__ = ["CNNClassifier"]
