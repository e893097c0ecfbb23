"""CNNClassifier: a thin translation of scikit-learn's interface to ``CNN`` and ``fit``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Self

import joblib
import numpy as np
import numpy.typing as npt
from joblib.parallel import get_active_backend
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from tinycnn import training
from tinycnn._checks import FloatArray, as_count, as_rate
from tinycnn.augmentation import Augmentation
from tinycnn.automatic import auto_batch_size, auto_channels, auto_epochs, auto_shift
from tinycnn.callbacks import EarlyStopping, History
from tinycnn.network import CNN
from tinycnn.optim import SGD, Adam, AdamW, Optimizer
from tinycnn.schedules import OneCycle, Schedule, constant, cosine_decay, linear_decay
from tinycnn.sklearn.layout import find_layout, match_layout
from tinycnn.weighting import ClassWeight, image_weights

# What the kernels read as it stands; anything else becomes the first of these.
PIXEL_TYPES = [np.float32, np.float64, np.uint8]

OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "sgd": SGD}

SCHEDULES: dict[str, Schedule] = {
    "one_cycle": OneCycle(),
    "cosine": cosine_decay,
    "linear": linear_decay,
    "constant": constant,
}


class CNNClassifier(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Convolutional network for classifying small images, trained on the CPU.

    Blocks of convolution, ReLU and 2x2 max pooling are followed by a fully connected layer that
    gives a score for each class; a hidden layer may stand between. The network minimises the
    cross-entropy by minibatches. The defaults depend on the number and the size of the images,
    and are meant to do well without being tuned.

    Parameters
    ----------
    channels : "auto" or tuple of int, default="auto"
        Filters of each block; the length is the number of blocks. "auto" is ``(64,)``,
        ``(32, 64)`` or ``(32, 64, 128)``: another block as long as 8 rows and columns are left
        for it, which is from 16 x 16 and from 36 x 36 pixels on with the default ``kernel_size``
        and ``padding``.

    kernel_size : int or (int, int), default=3
        Rows and columns of the filters.

    hidden : int, default=0
        Units of the hidden layer with ReLU before the output layer; 0 for none.

    padding : int, default=1
        Rows and columns of zeros that surround the images on each side, so that filters can be
        centred on pixels at the border.

    shift : "auto" or int, default="auto"
        Augmentation: in every epoch each image is moved by a whole number of pixels, up to this
        many in each direction. "auto" is 1 for images of at least 8 rows and columns, else 0.

    flip : bool, default=False
        Augmentation: whether every epoch sees half of the images mirrored left to right. For
        photographs, say, not for letters and digits.

    optimizer : {"adam", "adamw", "sgd"}, default="adam"
        How gradients become steps: :class:`tinycnn.Adam`, :class:`tinycnn.AdamW` or
        :class:`tinycnn.SGD`.

    learning_rate_init : float, default=0.01
        The highest learning rate. About 0.05 suits "sgd".

    schedule : {"one_cycle", "cosine", "linear", "constant"}, default="one_cycle"
        How the learning rate changes in the course of ``max_iter`` epochs: it first rises and
        then falls to 0, it falls to 0 along a cosine or in a straight line, or it stays.

    momentum : float, default=0.9
        Share of the last step that is kept in the next one, in [0, 1). Only for "sgd".

    alpha : float, default=0.0001
        Strength of the L2 penalty: this factor of each parameter is added to its gradient. With
        "adamw" parameters decay by this factor of the learning rate instead.

    batch_size : "auto" or int, default="auto"
        Images of each step. "auto" is 64, and 128 from 10,000 images on.

    max_iter : "auto" or int, default="auto"
        Epochs: passes over all images. "auto" is 200 for up to 64 images, and half as many for
        four times the images, but at least 10.

    label_smoothing : float, default=0.0
        Share of each target, in [0, 1), that is spread evenly over all classes.

    class_weight : dict, "balanced" or None, default=None
        How much each class counts, ``{label: weight}``; classes that are left out count 1. With
        "balanced", all classes count the same: ``n_samples / (n_classes * count)``, where the
        images are counted by their sample weights.

    early_stopping : bool, default=False
        Whether to hold out a part of the training data, to end training when the accuracy on it
        no longer improves, and to return to the parameters of the best epoch. It goes with
        ``schedule="constant"``; the others plan for all of ``max_iter``, and "one_cycle" is slow
        at first.

    validation_fraction : float, default=0.1
        Part of each class that is held out, in (0, 1). Only with ``early_stopping``.

    n_iter_no_change : int, default=10
        Epochs without improvement after which training ends. Only with ``early_stopping``.

    tol : float, default=0.0001
        Accuracy must grow by more than this to be an improvement. Only with ``early_stopping``.

    warm_start : bool, default=False
        Whether `fit` goes on from the parameters that the estimator has, if it is fitted, instead
        of starting anew. Images and classes must be those of before; the optimiser's state and
        the learning rate's schedule start anew.

    image_shape : tuple of int or None, default=None
        What an image is, ``(rows, columns)``, ``(rows, columns, channels)`` or
        ``(channels, rows, columns)``; of three numbers the shorter end is the channels, the last
        one on a tie. It is needed for flat colour images and flat images that are not square.
        With None, images are as X has them, and flat ones are the smallest square that holds all
        features, filled up with zeros.

    n_jobs : int or None, default=None
        Threads: None is 1, unless in a :func:`joblib.parallel_config` context; -1 is all CPUs. In
        a worker process of joblib it is never more than the worker's share of the CPUs. It does
        not change the result.

    random_state : int, RandomState instance or None, default=None
        Of the initial parameters, the order of the images, the augmentation and what is held out.
        An int gives the same network in every call.

    verbose : bool, default=False
        Whether to show progress on stderr.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X was a data frame whose columns are all strings.

    image_shape_ : (int, int, int)
        Channels, rows and columns of an image.

    network_ : tinycnn.CNN
        The trained network. It can be saved with :func:`tinycnn.save_model`.

    n_iter_ : int
        Epochs trained.

    loss_ : float
        Mean loss of the last epoch.

    loss_curve_ : list of float
        Mean loss of each epoch.

    validation_scores_ : list of float or None
        Accuracy on the part that was held out, after each epoch; None without ``early_stopping``.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Network of fully connected layers alone.
    tinycnn.CNN : The network itself.
    tinycnn.fit : The training.

    Notes
    -----
    **Images.** X may be flat, (n_samples, n_features); grey, (n_samples, rows, columns); or have
    channels, (n_samples, rows, columns, channels) or (n_samples, channels, rows, columns), told
    apart as ``image_shape`` says. Bytes are read as they are. Each channel is brought to mean 0
    and deviation 1 over the training images, so pixels may have any range.

    **Precision.** The network computes in float64 if X is float64, else in float32, which takes
    half the time or less and predicts as well: prefer bytes or float32.

    **Weights.** An image of weight 0 is as good as not there, to the bit. A weight of 2 is the
    same as two copies, up to rounding, as long as all images fit in one batch and ``shift``,
    ``flip`` and ``early_stopping`` are off; otherwise that holds on average.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998. Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, arXiv:1412.6980.
    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2017, arXiv:1708.07120.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from tinycnn.sklearn import CNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> clf = CNNClassifier(random_state=0).fit(X_train, y_train)
    >>> clf.predict(X_test[:5])
    array([2, 0, 4, 9, 4])
    >>> clf.score(X_test, y_test) > 0.97
    True
    """

    classes_: npt.NDArray[Any]

    def __init__(
        self,
        *,
        channels: Any = "auto",
        kernel_size: int | tuple[int, int] = 3,
        hidden: int = 0,
        padding: int = 1,
        shift: int | str = "auto",
        flip: bool = False,
        optimizer: str = "adam",
        learning_rate_init: float = 0.01,
        schedule: str = "one_cycle",
        momentum: float = 0.9,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0001,
        warm_start: bool = False,
        image_shape: tuple[int, ...] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.hidden = hidden
        self.padding = padding
        self.shift = shift
        self.flip = flip
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.momentum = momentum
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.image_shape = image_shape
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Train the network on labelled images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, rows, columns), \
                (n_samples, rows, columns, channels) or (n_samples, channels, rows, columns)
            Images of any real dtype, whose values are finite.

        y : array-like of shape (n_samples,)
            Class labels: numbers, strings or booleans, at least two classes.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each image counts; not negative.

        Returns
        -------
        self : CNNClassifier
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            For data or parameters that do not fit each other.
        FloatingPointError
            If the loss is no longer finite.
        """
        goes_on = bool(self.warm_start) and hasattr(self, "network_")
        images, y = self._read(X, y, reset=not goes_on)
        classes = np.unique(y)
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start: the network knows the classes {self.classes_}, y has {classes}; "
                "set warm_start=False to start anew"
            )
        self.classes_ = classes
        images, labels, weights = self._counted(images, y, sample_weight)
        present = self.classes_[np.unique(labels)]
        if len(present) < 2:
            raise ValueError(
                f"{type(self).__name__} needs images of at least 2 classes, got 1 class: "
                f"{present.item(0)!r}"
            )
        self._random = check_random_state(self.random_state)
        if not goes_on:
            self._start(images, weights)
        self._optimizer = self._new_optimizer()
        self._train(
            images,
            labels,
            weights,
            epochs=_count_or_auto("max_iter", self.max_iter, auto_epochs(len(images)), 1),
            schedule=_choice("schedule", self.schedule, SCHEDULES),
            **self._validation(),
        )
        return self

    def partial_fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        classes: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Train the network for one epoch on some more images.

        The learning rate is ``learning_rate_init`` throughout, whatever the schedule, and nothing
        is held out. How pixels are scaled is learned from the first call's images, which should
        therefore be typical ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, rows, columns), \
                (n_samples, rows, columns, channels) or (n_samples, channels, rows, columns)
            Images.

        y : array-like of shape (n_samples,)
            Class labels, all of them among `classes`.

        classes : array-like of shape (n_classes,), default=None
            All classes that there will be. Needed in the first call, and later on only checked.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each image counts; not negative.

        Returns
        -------
        self : CNNClassifier
            The estimator.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As :meth:`fit`.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: partial_fit sees a part of the images and cannot tell what is "
                f"{self.class_weight!r}; give a dict of weights"
            )
        first = not hasattr(self, "network_")
        if first and classes is None:
            raise ValueError("classes: the first call of partial_fit needs all class labels")
        images, y = self._read(X, y, reset=first)
        known = self.classes_ if classes is None else np.unique(column_or_1d(classes))
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(
                f"classes: the network knows {self.classes_}, got {known}; leave classes out"
            )
        self.classes_ = known
        images, labels, weights = self._counted(images, y, sample_weight)
        if first:
            self._random = check_random_state(self.random_state)
            self._start(images, weights)
            self._optimizer = self._new_optimizer()
        self._train(images, labels, weights, epochs=1)
        return self

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
        """Compute the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or with images as in `fit`
            Images.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Compute the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or with images as in `fit`
            Images.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; finite even where the probability is too small for a
            number.
        """
        logits = self._logits(X)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits

    def decision_function(self, X: npt.ArrayLike) -> FloatArray:
        """Compute the score of each class: the output of the last layer, before softmax.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or with images as in `fit`
            Images.

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

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or with images as in `fit`
            Images.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Outputs of the hidden layer or, without one, of the last block, in the order filter,
            row, column. None is negative.
        """
        images = self._images(X)
        return self.network_.features(images, _threads(self.n_jobs))

    @property
    def _n_features_out(self) -> int:
        return self.network_.engine.n_features

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _read(
        self, X: npt.ArrayLike, y: npt.ArrayLike, reset: bool
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Check X and y, learn from X what an image is, and return images (N, C, H, W) and y."""
        rows, sample_shape = _as_rows(X)
        rows, labels = validate_data(self, rows, y, reset=reset, dtype=PIXEL_TYPES, order="C")
        check_classification_targets(labels)
        sample_shape = sample_shape or rows.shape[1:]
        if reset:
            self._layout = find_layout(sample_shape, self.image_shape)
            self.image_shape_ = self._layout.shape
        return match_layout(self._layout, sample_shape).images(rows), labels

    def _images(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Check images to predict from, and return them as (N, C, H, W)."""
        check_is_fitted(self, "network_")
        rows, sample_shape = _as_rows(X)
        rows = validate_data(self, rows, reset=False, dtype=PIXEL_TYPES, order="C")
        return match_layout(self._layout, sample_shape or rows.shape[1:]).images(rows)

    def _counted(
        self, images: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.float64] | None]:
        """Return the images that count, their labels in [0, n_classes), and their weights."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y: {unknown.item(0)!r} is not among the classes {self.classes_}")
        labels = np.searchsorted(self.classes_, y).astype(np.int64)
        if sample_weight is not None and not np.asarray(sample_weight).any():
            raise ValueError("sample_weight: all weights are zero; at least one must be above")
        weights = image_weights(
            labels,
            np.arange(len(labels)),
            len(self.classes_),
            sample_weight,
            self._class_weight(),
        )
        if weights is None:
            return images, labels, None
        counted = weights > 0
        if not counted.all():
            images, labels, weights = images[counted], labels[counted], weights[counted]
        return images, labels, None if (weights == 1).all() else weights

    def _class_weight(self) -> ClassWeight | None:
        """Return class_weight with classes by number instead of by label."""
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        numbers = {label: i for i, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in self.class_weight if label not in numbers]
        if unknown:
            raise ValueError(f"class_weight: {unknown[0]!r} is not among {list(numbers)}")
        return {numbers[label]: weight for label, weight in self.class_weight.items()}

    def _start(self, images: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None) -> None:
        """Make a new network for the images."""
        channels = self.channels
        if _is_auto("channels", channels):
            channels = auto_channels(images.shape[1:], self.kernel_size, self.padding)
        network = CNN(
            images.shape[1:],
            channels,
            self.kernel_size,
            len(self.classes_),
            dtype="float64" if images.dtype == np.float64 else "float32",
            seed=_seed(self._random),
            class_names=[str(label) for label in self.classes_],
            hidden=self.hidden,
            padding=self.padding,
        )
        network.standardize(images, weights)
        self.network_ = network
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = None

    def _train(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float64] | None,
        **arguments: Any,
    ) -> None:
        """Hand everything over to :func:`tinycnn.fit`, and note what it recorded."""
        history = training.fit(
            self.network_,
            images,
            labels,
            batch_size=_count_or_auto(
                "batch_size", self.batch_size, auto_batch_size(len(images)), 1
            ),
            optimizer=self._optimizer,
            seed=_seed(self._random),
            n_threads=_threads(self.n_jobs),
            verbose=bool(self.verbose),
            augmentation=self._augmentation(),
            sample_weight=weights,
            label_smoothing=self.label_smoothing,
            **arguments,
        )
        self._note(history)

    def _note(self, history: History) -> None:
        self.loss_curve_ = self.loss_curve_ + history.train_loss
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
        if history.validation_accuracy:
            self.validation_scores_ = (self.validation_scores_ or []) + history.validation_accuracy

    def _new_optimizer(self) -> Optimizer:
        kind: type[Optimizer] = _choice("optimizer", self.optimizer, OPTIMIZERS)
        lr = as_rate("learning_rate_init", self.learning_rate_init)
        settings = {"weight_decay": as_rate("alpha", self.alpha)}
        if kind is SGD:
            settings["momentum"] = self.momentum
        return kind(lr, **settings)

    def _augmentation(self) -> Augmentation | None:
        shift = _count_or_auto("shift", self.shift, auto_shift(self.image_shape_))
        return Augmentation(shift, self.flip) if shift or self.flip else None

    def _validation(self) -> dict[str, Any]:
        """What fit is to be told of early stopping."""
        if not self.early_stopping:
            return {}
        patience = as_count("n_iter_no_change", self.n_iter_no_change, 1)
        stopping = EarlyStopping(patience, as_rate("tol", self.tol), "validation_accuracy")
        return {"validation_fraction": self.validation_fraction, "callbacks": [stopping]}

    def _logits(self, X: npt.ArrayLike) -> FloatArray:
        images = self._images(X)
        return self.network_.logits(images, _threads(self.n_jobs))


def _as_rows(X: Any) -> tuple[Any, tuple[int, ...]]:
    """Flatten images of more than one dimension; also return their shape, () if they are flat."""
    shape = getattr(X, "shape", None)
    if shape is None:
        X = np.asarray(X)
        shape = X.shape
    if len(shape) < 3:
        return X, ()
    sample_shape = tuple(shape[1:])
    return np.asarray(X).reshape(shape[0], math.prod(sample_shape)), sample_shape


def _is_auto(name: str, value: Any) -> bool:
    if isinstance(value, str) and value != "auto":
        raise ValueError(f"{name}: the only word it takes is 'auto', got {value!r}")
    return isinstance(value, str)


def _count_or_auto(name: str, value: Any, automatic: int, minimum: int = 0) -> int:
    return automatic if _is_auto(name, value) else as_count(name, value, minimum)


def _choice(name: str, value: Any, choices: Mapping[str, Any]) -> Any:
    if value not in choices:
        raise ValueError(f"{name}: must be one of {', '.join(choices)}, got {value!r}")
    return choices[value]


def _seed(random: np.random.RandomState) -> int:
    return int(random.randint(np.iinfo(np.int32).max))


def _threads(n_jobs: int | None) -> int:
    """Return how many threads n_jobs stands for.

    joblib tells its worker processes by OMP_NUM_THREADS how many CPUs are for each.
    """
    n_threads: int = joblib.effective_n_jobs(n_jobs)
    backend, _ = get_active_backend()
    share = os.environ.get("OMP_NUM_THREADS", "")
    if backend.nesting_level and share.isdigit():
        n_threads = min(n_threads, max(1, int(share)))
    return n_threads
