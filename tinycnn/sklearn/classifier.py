"""CNNClassifier: a thin translation of scikit-learn's interface to ``CNN`` and ``fit``."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import column_or_1d

from tinycnn._checks import shown
from tinycnn.layer import Layer
from tinycnn.network import CNN
from tinycnn.sklearn.predicting import PredictsWithNetwork
from tinycnn.sklearn.reading import Labelled, read_examples, those_that_count
from tinycnn.sklearn.safety import all_or_nothing
from tinycnn.sklearn.threads import threads_of
from tinycnn.sklearn.translation import (
    draw_seed,
    make_augmentation,
    make_layers,
    make_optimizer,
    stopping_arguments,
)
from tinycnn.training import fitting
from tinycnn.training.choices import SCHEDULES, as_choice, as_count_or_auto
from tinycnn.training.defaults import (
    KERNEL_SIZE,
    LABEL_SMOOTHING,
    OPTIMIZER,
    PADDING,
    SCHEDULE,
    auto_epochs,
)
from tinycnn.training.optim import Optimizer
from tinycnn.views import Views


class CNNClassifier(PredictsWithNetwork, BaseEstimator):
    """Convolutional network for classifying small images, trained on the CPU.

    Blocks of convolution, ReLU and 2x2 max pooling are followed by a fully connected layer that
    gives a score for each class; hidden layers may stand between. The network minimises the
    cross-entropy by minibatches. The defaults are those of :func:`tinycnn.fit`; they depend on
    the number and the size of the images, and are meant to do well without being tuned.

    Parameters
    ----------
    channels : "auto" or tuple of int, default="auto"
        Filters of each block; the length is the number of blocks. "auto" is ``(96,)``,
        ``(32, 64)`` or ``(32, 64, 128)``: another block as long as 8 rows and columns are left
        for it, which is from 16 x 16 and from 36 x 36 pixels on with the default ``kernel_size``
        and ``padding``.

    kernel_size : int or (int, int), default=3
        Rows and columns of the filters.

    hidden : int or tuple of int, default=0
        Units of each hidden layer with ReLU before the output layer; 0 or () for none.

    padding : "same", int or (int, int), default="same"
        Rows and columns of zeros around what each convolution is given. "same" keeps rows and
        columns as many as they are.

    layers : list of Layer or None, default=None
        All layers but the last, instead of `channels`, `kernel_size`, `hidden` and `padding`: for
        example ``[Conv(16), ReLU(), Conv(16), ReLU(), MaxPool(), Flatten(), Dropout(0.5)]`` of
        :mod:`tinycnn.layers`. The output layer is ``Linear(n_classes)``, behind a ``Flatten()``
        if there is none.

    shift : "auto" or int, default="auto"
        Augmentation: in every epoch each image is moved by a whole number of pixels, up to this
        many in each direction. "auto" is 1 for images of at least 16 rows and columns, else 0.

    flip : bool, default=False
        Augmentation: whether every epoch sees half of the images mirrored left to right. For
        photographs, say, not for letters and digits.

    optimizer : {"adamw", "adam", "sgd"}, default="adamw"
        How gradients become steps: :class:`tinycnn.AdamW`, :class:`tinycnn.Adam` or
        :class:`tinycnn.SGD`.

    learning_rate_init : "auto" or float, default="auto"
        The highest learning rate. "auto" is 0.01, and 0.05 for "sgd".

    schedule : {"one_cycle", "cosine", "linear", "constant"}, default="one_cycle"
        How the learning rate changes in the course of ``max_iter`` epochs: it first rises and
        then falls to 0, it falls to 0 along a cosine or in a straight line, or it stays.

    momentum : float, default=0.9
        Share of the last step that is kept in the next one, in [0, 1). Only for "sgd".

    alpha : "auto" or float, default="auto"
        Weight decay: with "adamw", parameters shrink by this factor of the learning rate in every
        step. With "adam" and "sgd" it is the strength of an L2 penalty: this factor of each
        parameter is added to its gradient. "auto" is 0.01 for "adamw", else 0.

    batch_size : "auto" or int, default="auto"
        Images of each step. "auto" is 64, and 128 from 10,000 images on.

    max_iter : "auto" or int, default="auto"
        Epochs: passes over all images. "auto" is 200 for up to 64 images, and half as many for
        four times the images, but at least 10.

    label_smoothing : float, default=0.05
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

    views : tinycnn.Views or None, default=None
        Predictions average over moved and mirrored copies of each image; `transform` does not. It
        changes nothing in training, so ``set_params(views=tinycnn.Views())`` may follow `fit`.

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

    def __init__(
        self,
        *,
        channels: str | Sequence[int] = "auto",
        kernel_size: int | tuple[int, int] = KERNEL_SIZE,
        hidden: int | Sequence[int] = 0,
        padding: str | int | tuple[int, int] = PADDING,
        layers: Sequence[Layer] | None = None,
        shift: int | str = "auto",
        flip: bool = False,
        optimizer: str = OPTIMIZER,
        learning_rate_init: float | str = "auto",
        schedule: str = SCHEDULE,
        momentum: float = 0.9,
        alpha: float | str = "auto",
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        label_smoothing: float = LABEL_SMOOTHING,
        class_weight: Mapping[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0001,
        warm_start: bool = False,
        views: Views | None = None,
        image_shape: tuple[int, ...] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.hidden = hidden
        self.padding = padding
        self.layers = layers
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
        self.views = views
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

        Whatever is raised, also by Ctrl-C, leaves the estimator as it was before.
        """
        with all_or_nothing(self):
            self._fit(X, y, sample_weight)
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
        with all_or_nothing(self):
            self._partial_fit(X, y, classes, sample_weight)
        return self

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _fit(self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None) -> None:
        goes_on = bool(self.warm_start) and hasattr(self, "network_")
        images, y = read_examples(self, X, y, reset=not goes_on)
        classes = np.unique(y)
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start: the network knows the classes {self.classes_}, y has {classes}; "
                "set warm_start=False to start anew"
            )
        self.classes_ = classes
        examples = those_that_count(self, images, y, sample_weight)
        present = classes[np.unique(examples.labels)]
        if len(present) < 2:
            raise ValueError(
                f"{type(self).__name__} needs images of at least 2 classes, got 1 class: "
                f"{present.item(0)!r}"
            )
        self._random = check_random_state(self.random_state)
        if goes_on:
            self._go_on("warm_start: set it to False")
        else:
            self._start(examples)
        self._optimizer = self._new_optimizer()
        stopping = stopping_arguments(
            self.early_stopping, self.validation_fraction, self.n_iter_no_change, self.tol
        )
        epochs = auto_epochs(len(examples.images))
        self._train(
            examples,
            epochs=as_count_or_auto("max_iter", self.max_iter, epochs, 1),
            schedule=as_choice("schedule", self.schedule, SCHEDULES),
            **stopping,
        )

    def _partial_fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        classes: npt.ArrayLike | None,
        sample_weight: npt.ArrayLike | None,
    ) -> None:
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: partial_fit sees a part of the images and cannot tell what is "
                f"{self.class_weight!r}; give a dict of weights"
            )
        first = not hasattr(self, "network_")
        if first and classes is None:
            raise ValueError("classes: the first call of partial_fit needs all class labels")
        images, y = read_examples(self, X, y, reset=first)
        known = self.classes_ if classes is None else np.unique(column_or_1d(classes))
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(
                f"classes: the network knows {self.classes_}, got {known}; leave classes out"
            )
        self.classes_ = known
        examples = those_that_count(self, images, y, sample_weight)
        optimizer = self._new_optimizer()
        if first:
            self._random = check_random_state(self.random_state)
            self._start(examples)
        else:
            self._go_on("partial_fit: call fit")
            with suppress(ValueError, TypeError):  # an optimiser of another kind begins anew
                optimizer.set_state(self._optimizer.state())
        self._optimizer = optimizer
        self._train(examples, epochs=1, schedule=None)

    def _layers(self) -> list[Layer]:
        """List the layers that the parameters ask for."""
        return make_layers(
            self.image_shape_,
            len(self.classes_),
            self.layers,
            channels=self.channels,
            kernel_size=self.kernel_size,
            hidden=self.hidden,
            padding=self.padding,
        )

    def _go_on(self, way_out: str) -> None:
        """Check that the network is still the one that is asked for; make it one to train."""
        if tuple(self._layers()) != self.network_.layers:
            raise ValueError(
                f"{way_out} to start anew: the network has the layers "
                f"{shown(list(self.network_.layers))}, the parameters now ask for others"
            )
        if not self.network_.flat.flags.writeable:  # a joblib worker shares it with others
            self.network_ = copy.deepcopy(self.network_)

    def _start(self, examples: Labelled) -> None:
        """Make a new network for the images."""
        images = examples.images
        network = CNN(
            images.shape[1:],
            self._layers(),
            dtype="float64" if images.dtype == np.float64 else "float32",
            seed=draw_seed(self._random),
            class_names=[str(label) for label in self.classes_],
        )
        network.standardize(images, examples.weights)
        self.network_ = network
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = None

    def _new_optimizer(self) -> Optimizer:
        return make_optimizer(self.optimizer, self.learning_rate_init, self.alpha, self.momentum)

    def _train(self, examples: Labelled, **arguments: Any) -> None:
        """Hand everything over to :func:`tinycnn.fit`, and note what it recorded."""
        history = fitting.fit(
            self.network_,
            examples.images,
            examples.labels,
            batch_size=self.batch_size,  # type: ignore[arg-type]
            optimizer=self._optimizer,
            augmentation=make_augmentation(self.shift, self.flip, self.image_shape_),
            sample_weight=examples.weights,
            label_smoothing=self.label_smoothing,
            seed=draw_seed(self._random),
            n_threads=threads_of(self.n_jobs),
            verbose=bool(self.verbose),
            **arguments,
        )
        self.loss_curve_ = self.loss_curve_ + history.train_loss
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
        if history.validation_accuracy:
            self.validation_scores_ = (self.validation_scores_ or []) + history.validation_accuracy
