"""Where the system has no more to give: one clear error, and nothing that was there is lost."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import QUICK, small_net

import tinycnn
from tinycnn import CNN, Conv, Flatten, Linear, MaxPool, ReLU

resource = pytest.importorskip("resource", reason="this system has no such limits")

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits are counted as Linux does")


def run(code, folder):
    """Run code in a process of its own, in a folder; return what it printed."""
    start = (
        "import os, resource\nimport numpy as np, tinycnn\n"
        "from conftest import QUICK, small_net\n"
        "images, labels = tinycnn.load_digits()\n"
        "def limit(what, value):\n"
        "    resource.setrlimit(what, (value, resource.getrlimit(what)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_leaves_the_old_model_and_no_draft(tmp_path):
    code = (
        "net = small_net(channels=(64,))\n"
        "tinycnn.save_model(net, 'm.npz')\n"
        "before = open('m.npz', 'rb').read()\n"
        "limit(resource.RLIMIT_FSIZE, 5000)\n"
        "try: tinycnn.save_model(small_net(channels=(65,)), 'm.npz')\n"
        "except OSError: print('OSError')\n"
        "print(open('m.npz', 'rb').read() == before, os.listdir())\n"
    )
    assert run(code, tmp_path) == ["OSError", "True ['m.npz']"]


def test_a_full_disk_ends_a_training_with_what_it_has_learned(tmp_path):
    code = (
        "class Fill(tinycnn.Callback):\n"
        "    def on_epoch_end(self, state):\n"
        "        if state.epoch == 3: limit(resource.RLIMIT_FSIZE, 1000)\n"
        "net = small_net()\n"
        "try: tinycnn.fit(net, images, labels, callbacks=[Fill(), tinycnn.Checkpoint('c.npz')],\n"
        "                 **QUICK)\n"
        "except OSError: print('OSError')\n"
        "limit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1])\n"
        "print(os.listdir(), net.score(images, labels) > 0.5)\n"
        "tinycnn.fit(net, images, labels, callbacks=tinycnn.Checkpoint('c.npz', resume=True),\n"
        "            **QUICK)\n"
        "print(net.score(images, labels) > 0.9)\n"
    )
    assert run(code, tmp_path) == ["OSError", "['c.npz'] True", "True"]


@linux
def test_too_little_memory_is_a_memory_error_and_later_results_are_the_same(tmp_path):
    code = (
        "def trained():\n"
        "    net = small_net()\n"
        "    tinycnn.fit(net, images, labels, n_threads=3, **{**QUICK, 'epochs': 1})\n"
        "    return net.flat.tobytes()\n"
        "expected, refused = trained(), 0\n"
        "page = resource.getpagesize()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * page\n"
        "for megabytes in (1, 2, 4, 8, 16, 32, 64):\n"
        "    limit(resource.RLIMIT_AS, used + megabytes * 2**20)\n"
        "    for work in (\n"
        "        lambda: small_net((1, 28, 28), channels=(256,), hidden=200),\n"
        "        lambda: small_net((1, 28, 28), channels=(32,)).forward(\n"
        "            np.zeros((3000, 1, 28, 28), np.uint8), n_threads=8),\n"
        "        lambda: small_net((1, 28, 28), channels=(99,)).logits(\n"
        "            np.zeros((500, 1, 28, 28), np.uint8), n_threads=8),\n"
        "    ):\n"
        "        try: work()\n"
        "        except MemoryError: refused += 1\n"
        "    limit(resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)[1])\n"
        "    assert trained() == expected\n"
        "print(refused > 3)\n"
    )
    assert run(code, tmp_path) == ["True"]


def test_a_network_of_more_classes_than_memory_is_refused_at_once():
    for n_classes in (2**63, 10**15):
        with pytest.raises((MemoryError, ValueError)):
            small_net(n_classes=n_classes)


def test_a_folder_that_vanishes_ends_a_training_with_what_it_has_learned(tmp_path, digits):
    class Remove(tinycnn.Callback):
        def on_epoch_end(self, state):
            if state.epoch == 3:
                shutil.rmtree(tmp_path / "run")

    (tmp_path / "run").mkdir()
    net = small_net()
    callbacks = [Remove(), tinycnn.Checkpoint(tmp_path / "run" / "c.npz")]
    with pytest.raises(FileNotFoundError, match=r"run.c\.npz"):
        tinycnn.fit(net, *digits, callbacks=callbacks, **QUICK)
    assert net.score(*digits) > 0.5


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_cannot_be_written_to_is_named_before_training(tmp_path, digits):
    tmp_path.chmod(0o500)
    net = small_net()
    before = net.flat.copy()
    with pytest.raises(PermissionError, match=r"c\.npz"):
        tinycnn.fit(net, *digits, callbacks=tinycnn.Checkpoint(tmp_path / "c.npz"), **QUICK)
    np.testing.assert_array_equal(net.flat, before)


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ([Flatten(), Linear(10**11), Linear(2)], "parameters"),
        ([Conv(10**10, 1), Flatten(), Linear(2)], "parameters"),
        ([Conv(2, 3, 20_000), ReLU(), MaxPool(), Flatten(), Linear(2)], "the work space"),
        ([Conv(2, 3, 10**6), ReLU(), *[MaxPool()] * 18, Flatten(), Linear(2)], "output of conv1"),
    ],
    ids=["linear", "conv", "fast", "layered"],
)
def test_what_no_machine_holds_is_refused_at_once_with_its_bytes(layers, what, monkeypatch):
    monkeypatch.setattr("tinycnn._checks.MEMORY_BYTES", 10**10)
    start = time.process_time()
    words = rf"{what} would take [\d,]+ bytes, this machine has [\d,]+"
    with pytest.raises(MemoryError, match=words):
        CNN((1, 4, 4), layers).logits(np.zeros((1, 1, 4, 4)))
    assert time.process_time() - start < 2


def test_sizes_beyond_any_machine_are_a_value_error_in_few_words():
    with pytest.raises(ValueError, match="more bytes than a machine can have") as raised:
        CNN((1, 4, 4), [Flatten(), Linear(10**300), Linear(2)])
    assert len(str(raised.value)) < 100


def test_work_space_that_no_machine_holds_is_refused_at_once(monkeypatch):
    net, images = small_net(channels=(64,)), np.zeros((20, 1, 8, 8))
    monkeypatch.setattr("tinycnn._checks.MEMORY_BYTES", 10_000)
    with pytest.raises(MemoryError, match=r"the work space would take [\d,]+ bytes, .* has 10,000"):
        net.logits(images)
    with pytest.raises(MemoryError, match=r"20 images need \d+ bytes until the backward pass"):
        net.forward(images)
