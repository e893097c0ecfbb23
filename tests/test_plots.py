"""Plots draw what they say, into the axes they are given, on light and on dark."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn import plots

mpl = pytest.importorskip("matplotlib")
mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

N_CLASSES = 4
HISTORY = {
    "train_loss": [2.0, 1.0, 0.5],
    "validation_loss": [2.1, 1.4, 1.3],
    "validation_accuracy": [0.2, 0.5, 0.75],
}


@pytest.fixture(autouse=True)
def _no_figures_stay() -> Iterator[None]:
    yield
    plt.close("all")


def result(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and the probabilities of a classifier that is right most of the time."""
    images = rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, N_CLASSES, n)
    logits = rng.normal(size=(n, N_CLASSES))
    logits[np.arange(n), labels] += 1.5
    return images, labels, tinycnn.functional.softmax(logits)


def every_plot(rng: np.random.Generator) -> dict[str, Callable[[Any], Any]]:
    images, labels, probabilities = result(rng)
    grey, colour = small_net(n_classes=N_CLASSES), small_net((3, 9, 9), channels=(4, 5), padding=1)
    taken = probabilities.argmax(axis=1)
    return {
        "loss_curves": lambda ax: plots.loss_curves(HISTORY, ax=ax),
        "accuracy_curve": lambda ax: plots.accuracy_curve(HISTORY, ax=ax),
        "confusion_matrix": lambda ax: plots.confusion_matrix(labels, taken, ax=ax),
        "filters": lambda ax: plots.filters(grey, ax=ax),
        "filters colour": lambda ax: plots.filters(colour, ax=ax),
        "filters deep": lambda ax: plots.filters(colour, "conv2", ax=ax),
        "feature_maps": lambda ax: plots.feature_maps(grey, images[0], ax=ax),
        "feature_maps colour": lambda ax: plots.feature_maps(colour, np.ones((3, 9, 9)), ax=ax),
        "saliency": lambda ax: plots.saliency(grey, images[0], ax=ax),
        "saliency colour": lambda ax: plots.saliency(colour, np.ones((3, 9, 9)), 2, ax=ax),
        "mistakes": lambda ax: plots.mistakes(images, labels, probabilities, ax=ax),
        "reliability_diagram": lambda ax: plots.reliability_diagram(probabilities, labels, ax=ax),
        "accuracy_by_margin": lambda ax: plots.accuracy_by_margin(probabilities, labels, ax=ax),
    }


PLOTS = sorted(every_plot(np.random.default_rng(0)))


def test_every_plot_is_tested():
    assert {name.split()[0] for name in PLOTS} == set(plots.__all__)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("size", [(3, 2.4), (8, 6)])
def test_nothing_is_cut_off(name, style, size, rng):
    with plt.style.context(style):
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        assert every_plot(rng)[name](ax) is ax
        figure.canvas.draw()
        drawn, page = ax.get_tightbbox(), figure.bbox
        assert drawn.x0 >= page.x0 - 1
        assert drawn.y0 >= page.y0 - 1
        assert drawn.x1 <= page.x1 + 1
        assert drawn.y1 <= page.y1 + 1


@pytest.mark.parametrize("name", PLOTS)
def test_without_axes_a_plot_makes_its_own_and_does_not_touch_others(name, rng):
    _, other = plt.subplots()
    ax = every_plot(rng)[name](None)
    assert ax is not other
    assert not other.has_data()


def test_curves_are_those_of_the_history():
    for axes in (plots.loss_curves(HISTORY), plots.loss_curves(as_history())):
        training, validation = axes.get_lines()
        np.testing.assert_array_equal(training.get_ydata(), HISTORY["train_loss"])
        np.testing.assert_array_equal(validation.get_ydata(), HISTORY["validation_loss"])
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])


def as_history() -> tinycnn.History:
    history = tinycnn.History()
    vars(history).update(HISTORY)
    return history


def test_a_curve_that_was_not_recorded_is_an_error_with_a_way_out():
    with pytest.raises(ValueError, match="no validation_accuracy in it; give fit validation_data"):
        plots.accuracy_curve({"train_loss": [1.0]})


def test_the_confusion_matrix_counts():
    ax = plots.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2], ["cat", "dog", "a very long name"])
    assert sorted(text.get_text() for text in ax.texts) == ["1", "1", "1", "1"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["cat", "dog", "a very long n…"]


def test_counts_can_be_read_on_their_colour():
    for style in ("default", "dark_background"):
        with plt.style.context(style):
            ax = plots.confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1])
            for text in ax.texts:
                column, row = (int(each) for each in text.get_position())
                image = ax.images[0]
                field = np.array(image.cmap(image.get_array()[row, column]))[:3].mean()
                ink = np.array(mpl.colors.to_rgb(text.get_color())).mean()
                assert abs(field - ink) > 0.4


def test_filters_are_those_of_the_layer():
    net = small_net()
    drawn = plots.filters(net).images
    assert len(drawn) == 8
    np.testing.assert_array_equal(drawn[3].get_array(), net.parameters["conv1.weight"][3, 0])
    assert drawn[0].norm.vmin == -drawn[0].norm.vmax
    with pytest.raises(ValueError, match="layer: must be one of conv1, got 'conv2'"):
        plots.filters(net, "conv2")


def test_feature_maps_have_a_row_a_layer(rng):
    net = small_net(hidden=5)
    ax = plots.feature_maps(net, rng.random((1, 8, 8)), most=3)
    names = [text.get_text() for text in ax.texts]
    assert names == ["image", *(step.name for step in net.architecture.steps)]
    assert len(ax.images) == 1 + 3 * 3 + 4


def test_saliency_is_that_of_the_class_asked_for(rng):
    net, image = small_net(), rng.random((1, 8, 8))
    net.class_names = tuple("abcdefghij")
    gradient = tinycnn.inspection.input_gradient(net, image[None], [7])[0, 0]
    ax = plots.saliency(net, image, 7)
    np.testing.assert_allclose(ax.images[-1].get_array(), gradient)
    assert ax.get_title() == "for h"


@pytest.mark.parametrize(
    ("shape", "way"),
    [((2, 1, 8, 8), "images[0]"), ((8, 8), "image[None]"), ((8, 8, 1), "image.transpose(2, 0, 1)")],
)
def test_what_is_not_one_image_is_an_error_with_a_way_out(shape, way):
    words = rf"needs one image of shape \(1, 8, 8\) .* give (one: )?{re.escape(way)}$"
    with pytest.raises(ValueError, match=words):
        plots.saliency(small_net(), np.zeros(shape))


def test_mistakes_are_the_most_confident_ones():
    images = np.zeros((3, 1, 2, 2))
    probabilities = [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]
    ax = plots.mistakes(images, [0, 1, 1], probabilities, ["cat", "dog"], most=1)
    assert [text.get_text() for text in ax.texts] == ["dog,\nnot cat: 80%"]
    right = plots.mistakes(images, [0, 0, 0], probabilities)
    assert [text.get_text() for text in right.texts] == ["no mistakes"]


def test_bars_of_reliability_are_accuracies():
    ax = plots.reliability_diagram([[0.95, 0.05], [0.92, 0.08], [0.35, 0.65]], [0, 1, 1])
    bars = {round(bar.get_x(), 1): bar.get_height() for bar in ax.patches}
    assert bars == {0.6: 1.0, 0.9: 0.5}


def test_accuracy_by_margin_ends_at_the_accuracy_of_all():
    ax = plots.accuracy_by_margin([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], [0, 1, 1])
    accuracy, answered = ax.get_lines()
    np.testing.assert_allclose(accuracy.get_xdata(), [0.8, 0.6, 0.2])
    np.testing.assert_allclose(accuracy.get_ydata(), [1, 1, 2 / 3])
    np.testing.assert_allclose(answered.get_ydata(), [1 / 3, 2 / 3, 1])


def test_without_matplotlib_the_command_is_named():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from tinycnn import plots\n"
        "try: plots.loss_curves({'train_loss': [1.0]})\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "plots need Matplotlib: pip install 'tinycnn[plot]'\n"
