"""Augmentation against NumPy's padding and slicing, and what it draws."""

import numpy as np
import pytest
from conftest import fit_gradient, layered_gradient, moved, relative_error, small_net

import tinycnn
from tinycnn import SGD, Augmentation
from tinycnn.inputs import Examples

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}


def every_move(H, W):
    """All moves (down, right, mirrored) of an image, each by less than its size."""
    axes = np.arange(1 - H, H), np.arange(1 - W, W), np.arange(2)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int8)


# ------------------------------------------------------------------------- the kernel that moves


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 4, 7), (2, 6, 3)])
def test_every_move_is_that_of_padding_and_slicing(rng, shape, pixel, dtype):
    moves = every_move(*shape[1:])
    N = len(moves)
    net = small_net(shape, channels=(4,), kernel_size=2, n_classes=3, dtype=dtype)
    images = rng.integers(0, 256, (N, *shape), dtype=np.uint8)
    images = images if pixel == "uint8" else (images / np.float32(256)).astype(pixel)
    labels = rng.integers(0, 3, N)
    before = images.copy()
    # Image by image, so that none can hide behind the sum over the others.
    gradients = net.path.gradients(net.flat, 1)
    batches = gradients.over(Examples(net.inputs(images), labels, moves=moves))
    for i, image in enumerate(moved(images, moves)):
        loss, gradient, _ = batches.differentiate(i, i + 1)
        expected_loss, expected = layered_gradient(net, image[None], labels[i : i + 1])
        assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
        assert relative_error(gradient, expected) < TOLERANCE[dtype], moves[i]
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("pixel", ["uint8", "float64"])
def test_the_largest_shift_there_is(rng, pixel):
    net = small_net((1, 130, 129), channels=(1,), n_classes=2, dtype="float64")
    images = (255 * rng.random((4, 1, 130, 129))).astype(pixel)
    moves = np.array([[127, 127, 0], [-127, 127, 1], [127, -127, 0], [-127, -127, 1]], np.int8)
    labels = np.array([0, 1, 1, 0])
    _, expected = layered_gradient(net, moved(images, moves), labels)
    _, gradient = fit_gradient(net, images, labels, moves=moves)
    assert relative_error(gradient, expected) < 1e-12


@pytest.mark.parametrize("hidden", [0, 6])
@pytest.mark.parametrize("N", [3, 70, 500])
def test_moved_weighted_smoothed_and_in_any_order_on_any_number_of_threads(rng, N, hidden):
    net = small_net((3, 13, 11), channels=(5,), n_classes=4, hidden=hidden, dtype="float64")
    images, labels = rng.integers(0, 256, (N, 3, 13, 11), np.uint8), rng.integers(0, 4, N)
    net.standardize(images)
    weights = rng.permutation(np.arange(N) % 4).astype(np.float64)
    moves = Augmentation(shift=10, flip=True).draw(N, rng)
    order = rng.permutation(N)
    expected_loss, expected = layered_gradient(net, moved(images, moves), labels, weights, 0.2)
    results = []
    for n_threads in (1, 2, 3, 8):
        gradients = net.path.gradients(net.flat, n_threads, 0.2)
        examples = Examples(net.inputs(images), labels, order, weights, moves)
        loss, gradient, _ = gradients.over(examples).differentiate()
        results.append((loss, gradient.copy()))
    assert results[0][0] == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(results[0][1], expected) < 1e-12
    for loss, gradient in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(gradient, results[0][1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moves_of_0_change_no_bit(rng, dtype):
    net = small_net((2, 9, 8), channels=(3,), dtype=dtype)
    images, labels = rng.random((37, 2, 9, 8)), rng.integers(0, 10, 37)
    loss, gradient = fit_gradient(net, images, labels)
    other_loss, other = fit_gradient(net, images, labels, moves=np.zeros((37, 3), np.int8))
    assert other_loss == loss
    np.testing.assert_array_equal(other, gradient)


# ------------------------------------------------------------------------------------ what is drawn


def test_all_moves_are_equally_likely():
    moves = Augmentation(shift=2, flip=True).draw(50_000, np.random.default_rng(3))
    assert moves.dtype == np.int8
    kinds, counts = np.unique(moves, axis=0, return_counts=True)
    assert len(kinds) == 5 * 5 * 2
    assert set(kinds[:, 0]) == set(kinds[:, 1]) == {-2, -1, 0, 1, 2}
    expected = 50_000 / 50
    # 49 degrees of freedom: only one draw in a thousand is above 85.4.
    assert ((counts - expected) ** 2 / expected).sum() < 85.4


def test_each_image_moves_by_itself():
    moves = Augmentation(shift=3).draw(1000, np.random.default_rng(0))
    following = np.unique(np.concatenate([moves[:-1, :2], moves[1:, :2]], axis=1), axis=0)
    assert len(following) > 700  # of 7**4 pairs of neighbours
    assert not moves[:, 2].any()


def test_flip_alone_moves_nothing_and_mirrors_half():
    moves = Augmentation(flip=True).draw(10_000, np.random.default_rng(1))
    assert not moves[:, :2].any()
    assert set(moves[:, 2]) == {0, 1}
    assert abs(int(moves[:, 2].sum()) - 5000) < 200  # four standard deviations


def test_the_seed_decides_the_moves():
    first, same, other = (
        Augmentation(4, flip=True).draw(100, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_the_largest_shift_fits_its_dtype():
    moves = Augmentation(shift=127).draw(20_000, np.random.default_rng(0))
    assert moves[:, :2].min() == -127
    assert moves[:, :2].max() == 127


# ------------------------------------------------------------------------------------------ in fit


def trained(images, labels, **arguments):
    """Return parameters and history after three epochs."""
    net = small_net(images.shape[1:], n_classes=3, dtype="float64")
    fixed = {"epochs": 3, "batch_size": 16, "augmentation": None, "label_smoothing": 0.0}
    arguments = fixed | {"verbose": False} | arguments
    history = tinycnn.fit(net, images, labels, **arguments)
    return net.flat, history


def test_every_epoch_moves_the_images_anew(rng):
    images, labels = rng.random((20, 1, 8, 8)), np.arange(20) % 3
    _, history = trained(images, labels, augmentation=Augmentation(2), optimizer=SGD(lr=0))
    assert len(set(history.train_loss)) == 3


def test_images_are_seen_moved_and_stay_as_they_are(rng, monkeypatch):
    images, labels = rng.random((20, 1, 8, 8)), np.arange(20) % 3
    images.setflags(write=False)
    drawn = []
    draw = Augmentation.draw

    def spy(self, n_images, rng):
        drawn.append(draw(self, n_images, rng))
        return drawn[-1]

    monkeypatch.setattr(Augmentation, "draw", spy)
    _, history = trained(
        images, labels, augmentation=Augmentation(3, flip=True), optimizer=SGD(lr=0)
    )
    net = small_net((1, 8, 8), n_classes=3, dtype="float64")
    for moves, loss in zip(drawn, history.train_loss, strict=True):
        expected, _ = layered_gradient(net, moved(images, moves), labels)
        assert loss == pytest.approx(expected, rel=1e-12)


def test_the_seed_decides_the_result(rng):
    images, labels = rng.random((40, 1, 8, 8)), np.arange(40) % 3
    augmentation = Augmentation(2, flip=True)
    first, same, other = (
        trained(images, labels, augmentation=augmentation, seed=seed)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_nothing_to_move_changes_no_bit(rng):
    images, labels = rng.random((40, 1, 8, 8)), np.arange(40) % 3
    expected, _ = trained(images, labels)
    flat, _ = trained(images, labels, augmentation=Augmentation())
    np.testing.assert_array_equal(flat, expected)


@pytest.mark.parametrize(("side", "shift"), [(15, 0), (16, 1)])
def test_auto_moves_by_a_pixel_where_that_is_little(rng, side, shift):
    images, labels = rng.random((20, 1, side, 17)), np.arange(20) % 3
    expected, _ = trained(images, labels, augmentation=Augmentation(shift))
    flat, _ = trained(images, labels, augmentation="auto")
    np.testing.assert_array_equal(flat, expected)
    assert (trained(images, labels)[0] != flat).any() == bool(shift)


def test_validation_sees_the_images_as_they_are(rng):
    images, labels = rng.random((30, 1, 8, 8)), np.arange(30) % 3
    net = small_net((1, 8, 8), n_classes=3)
    history = tinycnn.fit(
        net,
        images,
        labels,
        epochs=1,
        augmentation=Augmentation(3),
        validation_data=(images, labels),
        verbose=False,
    )
    loss, accuracy = tinycnn.evaluate(net, images, labels)
    assert (history.validation_loss, history.validation_accuracy) == ([loss], [accuracy])


def test_a_memory_map_is_moved_and_left_alone(rng, tmp_path):
    images, labels = rng.integers(0, 256, (40, 1, 8, 8), np.uint8), np.arange(40) % 3
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    expected, _ = trained(images, labels, augmentation=Augmentation(2))
    flat, _ = trained(mapped, labels, augmentation=Augmentation(2))
    np.testing.assert_array_equal(flat, expected)


# ------------------------------------------------------------------------------------------ errors


def test_repr_tells_how_to_make_another_one():
    assert repr(Augmentation(2, flip=True)) == "Augmentation(shift=2, flip=True)"
    assert repr(Augmentation()) == "Augmentation(shift=0, flip=False)"


@pytest.mark.parametrize(
    ("shift", "error", "words"),
    [
        (-1, ValueError, r"shift: must be a whole number of at least 0, got -1"),
        (0.5, ValueError, r"shift: must be a whole number of at least 0, got 0.5"),
        (128, ValueError, r"shift: must be at most 127, got 128"),
        ("2", TypeError, r"shift: must be a real number, got '2'"),
        ((1, 2), TypeError, r"shift: must be a real number, got \(1, 2\)"),
    ],
)
def test_impossible_shifts_are_refused_in_clear_words(shift, error, words):
    with pytest.raises(error, match=words):
        Augmentation(shift)


@pytest.mark.parametrize("shape", [(1, 8, 9), (1, 9, 8)])
def test_images_must_not_be_moved_out_of_sight(rng, shape):
    images, labels = rng.random((6, *shape)), [0, 1, 2] * 2
    trained(images, labels, augmentation=Augmentation(7))
    net = small_net(shape, n_classes=3)
    before = net.flat.copy()
    with pytest.raises(ValueError, match=rf"shift: must be less than 8 for images of {shape[1]} x"):
        tinycnn.fit(net, images, labels, augmentation=Augmentation(8), verbose=False)
    np.testing.assert_array_equal(net.flat, before)
