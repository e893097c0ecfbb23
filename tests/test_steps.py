"""The steps from the lesson to the fast path are the same training."""

import numpy as np

import tinycnn
from benchmarks import steps
from benchmarks.workloads import make_images
from tinycnn.layered import LayeredPath


def test_every_step_trains(monkeypatch):
    monkeypatch.setattr(steps, "STEPS", dict.fromkeys(steps.STEPS, (300, None)))
    assert all(steps.run_step(name) > 0 for name in steps.STEPS)


def test_layer_by_layer_learns_what_the_fast_path_learns():
    images, labels = make_images(300)
    trained = []
    for is_layered in (False, True):
        epoch = steps.network_epoch(images, labels, is_layered=is_layered)
        epoch()
        held = [cell.cell_contents for cell in epoch.__closure__]
        [net] = [each for each in held if isinstance(each, tinycnn.CNN)]
        assert isinstance(net.path, LayeredPath) is is_layered
        trained.append(net.flat)
    np.testing.assert_allclose(*trained, rtol=1e-3, atol=1e-5)
