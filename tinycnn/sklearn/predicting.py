"""What a fitted estimator tells of images: classes, probabilities, scores, features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from tinycnn._checks import FloatArray
from tinycnn.network import CNN
from tinycnn.sklearn.reading import read_images
from tinycnn.sklearn.threads import threads_of
from tinycnn.views import Views


class PredictsWithNetwork(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin):
    """Predicts with ``network_``, whose classes are numbers, in terms of ``classes_``."""

    classes_: npt.NDArray[Any]
    network_: CNN
    n_jobs: int | None
    views: Views | None

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Tell the most likely class of each image.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or with images as in `fit`
            Images.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels.
        """
        winners = self._logits(X).argmax(axis=1)
        predictions: npt.NDArray[Any] = self.classes_[winners]
        return predictions

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Compute the probability (n_samples, n_classes) of each class, in the order of `classes_`.

        X is as for :meth:`predict`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Compute the logarithm (n_samples, n_classes) of the probability of each class.

        Finite even where the probability is too small for a number; else as `predict_proba`.
        """
        logits = self._logits(X)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits

    def decision_function(self, X: npt.ArrayLike) -> FloatArray:
        """Compute the score of each class: the output of the last layer, before softmax.

        X is as for :meth:`predict`.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            In the order of ``classes_``. Of two classes it is one number, by how much the second
            one's score is the greater.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Compute what the last layer sees: features of an image, for other estimators.

        X is as for :meth:`predict`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Outputs of the last hidden layer or, without one, of the last block, in the order
            filter, row, column.
        """
        images = read_images(self, X)
        self.network_.warn_if_unusual(images)
        return self.network_.features(images, threads_of(self.n_jobs))

    @property
    def _n_features_out(self) -> int:
        return self.network_.architecture.n_features

    def _logits(self, X: npt.ArrayLike) -> FloatArray:
        images = read_images(self, X)
        self.network_.warn_if_unusual(images)
        return self.network_.logits(images, threads_of(self.n_jobs), views=self.views)
