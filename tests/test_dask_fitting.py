"""Training over shards: the mathematics of ``fit``, and the same bits for any number of workers."""

import numpy as np
import pytest
from conftest import halves, small_net

pytest.importorskip("distributed")

import dask
import dask.array as da
from dask_cluster import cluster

import tinycnn
import tinycnn.dask
from tinycnn import SGD, Adam, Augmentation, loss_and_gradient
from tinycnn.training.callbacks import Callback

N, CUTS = 130, (60, 47, 23)  # images, and how many each shard has
WHOLE = {"batch_size": N, "augmentation": None, "verbose": False, "epochs": 4}
QUICK = {"batch_size": 16, "epochs": 2, "verbose": False}


@pytest.fixture(scope="module")
def client():
    """A cluster of two workers, threads of this process."""
    with cluster(2) as client:
        yield client


@pytest.fixture
def data(rng):
    """Images in bytes, labels of five classes, one of them rare, and weights."""
    images = rng.integers(0, 256, (N, 1, 8, 8), dtype=np.uint8)
    labels = np.where(rng.random(N) < 0.05, 4, rng.integers(0, 4, N))
    return images, labels, rng.exponential(size=N)


def new_net(dtype="float64", **arguments):
    return small_net(n_classes=5, dtype=dtype, seed=3, **arguments)


def cut(images, labels, weights=None, cuts=CUTS):
    """Make shards of arrays."""
    arrays = [images, labels] + ([] if weights is None else [weights])
    return tinycnn.dask.shards(*(da.from_array(each, (cuts, *each.shape[1:])) for each in arrays))


def trained(data, net=None, **arguments):
    """Train a network over three shards; return its parameters and the history."""
    net = new_net() if net is None else net
    history = tinycnn.dask.fit(net, cut(*data), **arguments)
    return net.flat, history


# ------------------------------------------------------------------------------- the same as `fit`


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adamw", "schedule": "cosine", "label_smoothing": 0.0},
        {"optimizer": "adam", "class_weight": "balanced"},
        {"optimizer": "sgd", "class_weight": {0: 3, 4: 0.5}, "label_smoothing": 0.2},
        {"optimizer": "sgd", "class_weight": [1, 2, 3, 0, 1], "schedule": lambda done: 1 - done},
    ],
    ids=lambda arguments: "-".join(arguments),
)
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "plain"])
def test_full_batches_are_those_of_fit(client, data, arguments, weighted):
    images, labels, weights = data if weighted else (*data[:2], None)
    expected = new_net()
    history = tinycnn.fit(expected, images, labels, sample_weight=weights, **WHOLE, **arguments)
    flat, found = trained((images, labels, weights), **WHOLE, **arguments)
    np.testing.assert_allclose(flat, expected.flat, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.train_loss, history.train_loss, rtol=1e-12)
    assert len(found.seconds) == 4


def test_full_batches_layer_by_layer_are_those_of_fit(client, data):
    layers = [tinycnn.Conv(2, 3), tinycnn.MaxPool(), tinycnn.Flatten(), tinycnn.Linear(5)]
    expected, net = (tinycnn.CNN((1, 8, 8), layers, dtype="float64") for _ in range(2))
    assert net.why_layered
    tinycnn.fit(expected, *data[:2], **WHOLE)
    trained(data[:2], net, **WHOLE)
    np.testing.assert_allclose(net.flat, expected.flat, rtol=0, atol=1e-12)


def test_a_step_is_one_of_all_shards_parts_of_the_batch(client, data):
    """Three steps an epoch, by hand: of each shard's order, every step has a third."""
    images, labels, weights = data
    net, optimizer, draw = new_net(), SGD(0.1), np.random.default_rng(7)
    for _ in range(2):
        seed = int(draw.integers(2**63))
        orders = [
            first + np.random.default_rng([seed, i]).permutation(n)
            for i, (first, n) in enumerate(zip((0, 60, 107), CUTS, strict=True))
        ]
        for step in range(3):
            some = np.concatenate(
                [each[len(each) * step // 3 : len(each) * (step + 1) // 3] for each in orders]
            )
            _, gradient = loss_and_gradient(
                net, images[some], labels[some], sample_weight=weights[some]
            )
            optimizer.step(net.flat, gradient.flat)
    arguments = {"schedule": None, "label_smoothing": 0.0, "augmentation": None, "seed": 7}
    flat, _ = trained(data, optimizer=SGD(0.1), batch_size=44, epochs=2, verbose=False, **arguments)
    np.testing.assert_allclose(flat, net.flat, rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("every", [1, 4, 100])
def test_one_shard_on_its_own_makes_the_steps_of_all(client, data, optimizer, every):
    flats = []
    for average_every in (None, every):
        net = new_net()
        arguments = {"optimizer": optimizer, "average_every": average_every}
        tinycnn.dask.fit(net, cut(*data, cuts=(N,)), **QUICK, **arguments)
        flats.append(net.flat)
    np.testing.assert_allclose(*flats, rtol=0, atol=1e-12)


def test_averages_of_single_steps_are_steps_of_all(client, data):
    """SGD with momentum is linear in the gradients: to average before or after it is the same."""
    together, _ = trained(data, optimizer="sgd", **QUICK | {"batch_size": 48})
    apart, _ = trained(data, optimizer="sgd", average_every=1, **QUICK)
    np.testing.assert_allclose(apart, together, rtol=0, atol=1e-12)


def test_averages_of_several_steps_are_weighted_by_images(client, data):
    images, labels, _ = data
    arguments = {**QUICK, "epochs": 1, "average_every": 99, "optimizer": SGD(0.1, momentum=0)}
    alone = []
    for i in range(3):  # shards whose images weigh nothing count nothing in the average
        flat, _ = trained((images, labels, np.repeat(np.eye(3)[i], CUTS)), **arguments)
        alone.append(flat)
    flat, _ = trained((images, labels), **arguments)
    np.testing.assert_allclose(flat, np.average(alone, axis=0, weights=CUTS), rtol=0, atol=1e-12)
    assert min(np.abs(flat - each).max() for each in alone) > 1e-3


@pytest.mark.parametrize("pixel", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "plain"])
def test_standardize_learns_what_the_network_learns_from_all(client, rng, pixel, weighted):
    images = (rng.integers(0, 256, (N, 2, 6, 5)) + rng.integers(0, 50, (N, 1, 1, 1))).clip(0, 255)
    images, labels = images.astype(pixel), np.zeros(N, int)
    weights = rng.exponential(size=N) if weighted else None
    expected, net = (small_net((2, 6, 5)) for _ in range(2))
    expected.standardize(images, weights)
    tinycnn.dask.standardize(net, cut(images, labels, weights))
    np.testing.assert_allclose(net.input_mean, expected.input_mean, rtol=1e-12)
    np.testing.assert_allclose(net.input_std, expected.input_std, rtol=1e-12)


def test_equal_pixels_have_no_deviation_in_any_number_of_shards(client):
    net = small_net()
    tinycnn.dask.standardize(net, cut(np.full((N, 1, 8, 8), 0.1), np.zeros(N, int)))
    assert (net.input_mean, net.input_std) == (0.1, 1.0)


# ----------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize("every", [None, 3])
def test_the_number_of_workers_changes_no_bit(data, every):
    results = []
    for n_workers in (1, 2, 3):
        with cluster(n_workers):
            flat, history = trained(
                data,
                new_net("float32"),
                average_every=every,
                augmentation=Augmentation(shift=1, flip=True),
                class_weight="balanced",
                **QUICK,
            )
            results.append((flat.tobytes(), history.train_loss))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("every", [None, 2])
def test_layers_that_are_random_are_so_by_the_seed(client, data, every):
    layers = [tinycnn.Dropout(0.5), tinycnn.Flatten(), tinycnn.Linear(5)]
    flats = [
        trained(data, tinycnn.CNN((1, 8, 8), layers), average_every=every, seed=seed, **QUICK)[0]
        for seed in (1, 1, 2)
    ]
    assert (flats[0] == flats[1]).all()
    assert (flats[0] != flats[2]).any()


def test_images_are_moved_in_every_shard(client, data):
    """Moves change nothing where images look the same however they are moved."""
    images, labels, _ = data
    for some, same in (
        (np.broadcast_to(images[:, :, :1, :1], images.shape), True),
        (images, False),
    ):
        flats = [
            trained((np.array(some), labels), augmentation=each, **QUICK)[0]
            for each in (None, Augmentation(shift=2, flip=True))
        ]
        assert (flats[0] == flats[1]).all() == same


@pytest.mark.parametrize("every", [None, 2])
def test_a_driver_that_died_goes_on_from_its_checkpoint(client, data, tmp_path, every):
    arguments = {"average_every": every, "augmentation": Augmentation(1), **QUICK | {"epochs": 4}}
    expected, history = trained(data, **arguments)

    class Death(Callback):
        def on_epoch_end(self, state):
            if state.epoch == 3:
                raise KeyboardInterrupt

    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        trained(data, callbacks=[tinycnn.Checkpoint(path), Death()], **arguments)
    assert tinycnn.load_model(path).flat.size == expected.size
    with cluster(3):
        flat, resumed = trained(data, callbacks=tinycnn.Checkpoint(path, resume=True), **arguments)
    assert (flat == expected).all()
    assert resumed.train_loss == history.train_loss


@pytest.mark.parametrize("name", ["images", "batch_size", "average_every", "class_weight"])
def test_a_checkpoint_of_another_training_is_refused(client, data, tmp_path, name):
    images, labels, weights = data
    arguments = {**QUICK, "augmentation": None}
    checkpoint = tinycnn.Checkpoint(tmp_path / "run.npz", resume=True)
    trained(data, callbacks=checkpoint, **arguments)
    changed = {"batch_size": 60, "average_every": 2, "class_weight": "balanced"}
    if name == "images":
        images = images[::-1].copy()
    else:
        arguments[name] = changed[name]
    with pytest.raises(ValueError, match=f"was trained with {name}:"):
        trained((images, labels, weights), callbacks=checkpoint, **arguments)


# ------------------------------------------------------------------------- callbacks, validation


def test_it_learns_with_validation_and_early_stopping(client, rng):
    images, labels = halves(rng, N)
    net = small_net((1, 6, 6), n_classes=2)
    stopping = tinycnn.EarlyStopping(patience=2)
    history = tinycnn.dask.fit(
        net,
        cut(images, labels),
        batch_size=16,
        epochs=200,
        schedule=None,
        validation_data=(images, labels),
        callbacks=stopping,
        verbose=False,
        average_every=2,
    )
    assert len(history.validation_loss) == len(history.train_loss) < 200
    assert stopping.best_value == min(history.validation_loss)
    assert net.score(images, labels) == 1


@pytest.mark.parametrize(("every", "n_batches"), [(None, 3), (2, 2)])
def test_callbacks_hear_of_every_question(client, data, every, n_batches):
    class Count(Callback):
        batches = 0

        def on_batch_end(self, state):
            self.batches += 1
            assert state.batches_per_epoch == n_batches
            assert list(state.order) == [0, 1, 2]

    trained(
        data,
        callbacks=(count := Count()),
        average_every=every,
        **QUICK | {"batch_size": 44 if every is None else 15},
    )
    assert count.batches == 2 * n_batches


def test_progress_is_shown(client, data, capsys):
    trained(data, **QUICK | {"verbose": True})
    assert "loss" in capsys.readouterr().err


@pytest.mark.parametrize("every", [None, 2])
def test_a_training_that_diverges_is_undone(client, data, every):
    net = new_net("float32")
    before = net.flat.copy()
    with pytest.raises(FloatingPointError, match="became infinite or NaN in epoch"):
        trained(data, net, optimizer=SGD(1e30), average_every=every, **QUICK)
    assert (net.flat == before).all()


def test_an_optimizer_goes_on_where_it_was(client, data):
    expected, optimizer, net = new_net(), Adam(0.01), new_net()
    arguments = {**WHOLE, "schedule": None}
    tinycnn.fit(expected, *data[:2], optimizer=Adam(0.01), **arguments)
    for _ in range(2):
        trained(data[:2], net, optimizer=optimizer, **arguments | {"epochs": 2})
    np.testing.assert_allclose(net.flat, expected.flat, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_weight": [1]}, TypeError, "sample_weight: not here; give it to tinycnn.dask.sh"),
        ({"validation_fraction": 0.1}, TypeError, "validation_fraction: not here; hold some"),
        ({"colour": 3}, TypeError, "there is no argument 'colour'"),
        ({"average_every": 0}, ValueError, "average_every: must be a whole number of at least 1"),
        ({"n_threads": None}, TypeError, "n_threads: must be a real number"),
        ({"timeout": 0}, ValueError, "timeout: must be above 0 seconds, got 0"),
        ({"client": 3}, TypeError, "client: must be a dask.distributed.Client, got 3"),
        ({"batch_size": 1, "average_every": 1}, ValueError, r"shards\[2\]: 23 images are too few"),
        ({"class_weight": "even"}, ValueError, "class_weight: the only word"),
        ({"class_weight": np.zeros(5)}, ValueError, "add up to 0; only their ratios count"),
        ({"validation_data": 3}, ValueError, "validation_data: must be a pair"),
        ({"label_smoothing": 2}, ValueError, "label_smoothing: must be in"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_do_not_fit_are_told(client, data, arguments, error, message):
    net = new_net()
    with pytest.raises(error, match=message):
        trained(data, net, verbose=False, **arguments)
    assert (net.flat == new_net().flat).all()


def delayed_pair(images, labels, *weights):
    return dask.delayed(lambda: (images, labels, *weights))()


GOOD = (np.zeros((3, 1, 8, 8), np.uint8), [0, 1, 2])


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        ((GOOD[0], [0, 1, 5]), ValueError, r"shards\[1\]: labels: labels must be whole numbers in"),
        ((GOOD[0], [0, 1]), ValueError, r"shards\[1\]: labels: 3 images need as many labels"),
        ((GOOD[0][:0], []), ValueError, r"shards\[1\]: images: at least one image"),
        ((np.zeros((3, 1, 8, 9)), [0] * 3), ValueError, r"shards\[1\]: images: this network takes"),
        ((np.full((3, 1, 8, 8), np.inf), [0] * 3), ValueError, r"shards\[1\]: images: all values"),
        ((np.zeros((3, 1, 8, 8)), [0] * 3), ValueError, "all images need one dtype, shards"),
        ((*GOOD, [1, -1, 1]), ValueError, r"shards\[1\]: sample_weight: must not be negative"),
        ((1, 2, 3, 4), TypeError, r"shards\[1\]: must give \(images, labels\)"),
    ],
    ids=["class", "labels", "empty", "shape", "infinite", "dtype", "weight", "four"],
)
def test_what_is_wrong_with_a_shard_is_told(client, part, error, message):
    shards = tinycnn.dask.shards([delayed_pair(*GOOD), delayed_pair(*part)])
    with pytest.raises(error, match=message):
        tinycnn.dask.fit(new_net(), shards, **QUICK)


def test_pixels_on_another_scale_are_refused_as_by_fit(client, data):
    images, labels, _ = data
    with pytest.raises(ValueError, match=r"call net.standardize\(images\) before fit"):
        trained((images.astype(np.float32), labels), **QUICK)


def test_only_shards_are_trained_on(client, data):
    with pytest.raises(TypeError, match=r"shards: must be what tinycnn\.dask\.shards"):
        tinycnn.dask.fit(new_net(), data[:2])
    with pytest.raises(TypeError, match=r"net: must be a tinycnn\.CNN"):
        tinycnn.dask.fit(tinycnn.CNN, cut(*data))


def test_weights_that_are_all_0_have_no_mean(client, data):
    with pytest.raises(ValueError, match="sample_weight: all weights are 0"):
        tinycnn.dask.standardize(new_net(), cut(*data[:2], np.zeros(N)))
