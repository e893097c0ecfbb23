"""Threads, forks and interrupts at the worst moments: right results, and nothing stays taken."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn.fast import engine, threads
from tinycnn.training import contract

IMAGES = np.random.default_rng(0).integers(0, 256, (600, 1, 12, 12), dtype=np.uint8)
LABELS = np.arange(600) % 10

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_a_map_in_order_goes_ahead_by_a_few():
    begun = []

    def square(i):
        begun.append(i)
        return i * i

    for n_threads in (1, 2, 5):
        begun.clear()
        results = threads.map_in_order(square, iter(range(20)), n_threads)
        taken = [next(results) for _ in range(7)]
        assert taken == [i * i for i in range(7)]
        time.sleep(0.01)
        assert len(begun) <= 7 + n_threads
        assert taken + list(results) == [i * i for i in range(20)]


def test_an_error_in_a_map_in_order_is_raised_where_it_is_taken():
    results = threads.map_in_order(lambda i: 1 // (2 - i), range(9), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_train_has_the_same_bits_for_any_number_of_threads(monkeypatch, n_threads):
    rng = np.random.default_rng(0)
    x = rng.random((9000, 1, 7, 8)).astype(np.float32)
    arguments = (x, np.arange(9000) % 3, rng.normal(size=(5, 1, 2, 3)), rng.normal(size=(45, 3)))

    def trained(n):
        monkeypatch.setattr(contract, "resolve_threads", lambda _: n)
        return tinycnn.train(*arguments, 0.1, 2).tobytes()

    assert trained(n_threads) == trained(1)


def new_net():
    return small_net((1, 12, 12), seed=1)


def trained(n_threads=3, epochs=1, callbacks=()):
    net = new_net()
    arguments = {"epochs": epochs, "n_threads": n_threads, "callbacks": callbacks, "verbose": False}
    tinycnn.fit(net, IMAGES, LABELS, **arguments)
    return net.flat.tobytes()


def at_once(functions):
    """Run functions in threads of their own, at once; return what they return."""
    results = [None] * len(functions)

    def store(i):
        results[i] = functions[i]()

    running = [threading.Thread(target=store, args=(i,)) for i in range(len(functions))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return results


@pytest.fixture
def fresh_pool(monkeypatch):
    """A pool that has no workers yet, for this test alone."""
    monkeypatch.setattr(threads, "_shared", threads._Shared())
    return threads._shared


def test_the_pool_grows_to_what_is_asked_for(fresh_pool):
    expected = trained(1)
    for n_threads in (2, 5, 3, 9):
        assert trained(n_threads) == expected
    assert fresh_pool.n_started == 8


def test_where_no_thread_can_start_the_callers_own_does_it_all(fresh_pool, monkeypatch):
    expected = trained(1)

    def start(function, arguments):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(_thread, "start_new_thread", start)
        assert trained(3) == expected
        assert fresh_pool.n_started == 0
    assert trained(3) == expected
    assert fresh_pool.n_started == 2


def test_a_thread_that_dies_before_it_works_is_not_waited_for(fresh_pool, monkeypatch):
    expected = trained(1)
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, arguments: 0)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail("it would wait"))
    assert trained(3) == expected


def test_an_interrupt_in_any_line_leaves_nothing_taken(fresh_pool):
    expected, files, n_lines = trained(1), (threads.__file__, engine.__file__), 0

    def interrupt_at(line):
        lines = 0

        def trace(frame, event, _):
            nonlocal lines
            if frame.f_code.co_filename not in files:
                return None
            lines += event == "line"
            if event == "line" and lines == line:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        net, before = new_net(), sys.gettrace()
        sys.settrace(trace)
        try:
            net.logits(IMAGES, 3)
            net.backward(*_state_of(net))
        finally:
            sys.settrace(before)

    while True:
        n_lines += 1
        threads._shared = threads._Shared()
        try:
            interrupt_at(n_lines)
        except KeyboardInterrupt:
            assert trained(3) == expected
            assert at_once([trained] * 2) == [expected] * 2
            continue
        break
    assert n_lines > 50


def _state_of(net):
    logits, state = net.forward(IMAGES[:200], n_threads=3)
    return np.ones_like(logits), state


def test_predictions_at_once_on_one_network_have_the_same_bits():
    net = new_net()
    expected = net.predict_proba(IMAGES, 1)

    def predict():
        return all((net.predict_proba(IMAGES, 3) == expected).all() for _ in range(10))

    assert at_once([predict] * 4) == [True] * 4


def test_who_predicts_meanwhile_does_not_disturb_a_training():
    net, over = new_net(), threading.Event()

    def train():
        try:
            arguments = {"epochs": 3, "n_threads": 3, "verbose": False}
            tinycnn.fit(net, IMAGES, LABELS, **arguments)
        finally:
            over.set()
        return net.flat.tobytes()

    def predict():
        finite = True
        while not over.is_set():
            finite = finite and bool(np.isfinite(net.logits(IMAGES, 3)).all())
        return finite

    assert at_once([train, predict, predict]) == [trained(1, 3), True, True]


def test_trainings_of_one_network_at_once_crash_nothing():
    net = new_net()

    def train():
        arguments = {"epochs": 3, "n_threads": 2, "verbose": False}
        return len(tinycnn.fit(net, IMAGES, LABELS, **arguments).train_loss)

    assert at_once([train] * 3) == [3] * 3
    assert np.isfinite(net.flat).all()


def test_predicting_on_more_threads_in_a_callback_changes_nothing():
    class Predict(tinycnn.Callback):
        def on_batch_end(self, state):
            state.net.predict(IMAGES, n_threads=5)

    assert trained(2, callbacks=Predict()) == trained(2)


def test_more_threads_than_anybody_has_are_taken_as_many():
    net = new_net()
    np.testing.assert_array_equal(net.logits(IMAGES, 10**30), net.logits(IMAGES, 1))
    assert threads.resolve_threads(10**30) == threads.MAX_THREADS


def run(code, timeout=60):
    """Run code in a process of its own; return what it printed."""
    start = (
        "import os, signal, sys, threading, time\n"
        "import numpy as np, tinycnn\n"
        "from test_threads import IMAGES, LABELS, new_net, trained\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", start + code],  # Python 3.12 warns of any fork
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=os.path.dirname(__file__),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def interrupts():
    """Ctrl-C raises KeyboardInterrupt, as it does not in what a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@needs_fork
def test_a_child_forked_in_a_callback_goes_on_and_so_does_its_parent():
    printed = run(
        "class Fork(tinycnn.Callback):\n"
        "    def on_epoch_end(self, state):\n"
        "        if state.epoch == 1: self.pid = os.fork()\n"
        "expected, fork = trained(3, 3), Fork()\n"
        "right = trained(3, 3, fork) == expected and trained(3, 3) == expected\n"
        "if fork.pid == 0: os._exit(0 if right else 3)\n"
        "print(right, os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1]))\n"
    )
    assert printed == ["True", "0"]


@needs_fork
def test_a_child_forked_in_a_callback_exits_with_its_own_code():
    printed = run(
        "class Fork(tinycnn.Callback):\n"
        "    def on_epoch_end(self, state):\n"
        "        pid = os.fork()\n"
        "        if pid == 0: sys.exit(7)\n"
        "        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "trained(3, 1, Fork())\n"
    )
    assert printed == ["7"]


@needs_fork
def test_children_forked_while_another_thread_trains_do_not_hang():
    printed = run(
        "expected, over = trained(), threading.Event()\n"
        "def train():\n"
        "    while not over.is_set(): trained()\n"
        "thread = threading.Thread(target=train); thread.start()\n"
        "for _ in range(20):\n"
        "    time.sleep(0.005)\n"
        "    pid = os.fork()\n"
        "    if pid == 0: os._exit(0 if trained() == expected else 3)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "over.set(); thread.join()\n"
    )
    assert printed == ["0"] * 20


@pytest.mark.parametrize(
    "code",
    [
        "import atexit; atexit.register(lambda: print(trained() == expected))",
        "threading.Thread(target=lambda: (time.sleep(0.2), print(trained() == expected))).start()",
        "import gc\nclass Old:\n    def __del__(self): trained(2)\n"
        "class Drop(tinycnn.Callback):\n    def on_batch_end(self, state): Old()\n"
        "print(trained(callbacks=Drop()) == expected)",
        "class Leave(tinycnn.Callback):\n    def on_batch_end(self, state): sys.exit(5)\n"
        "try: trained(callbacks=Leave())\nexcept SystemExit as end: assert end.code == 5\n"
        "print(trained() == expected)",
    ],
    ids=["at exit", "in a thread at exit", "in __del__", "sys.exit"],
)
def test_trainings_at_odd_moments_have_the_right_bits(code):
    assert run("expected = trained(1)\n" + code + "\n") == ["True"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call here")
def test_cpus_that_come_and_go_change_no_bit():
    printed = run(
        "over, cpus = threading.Event(), sorted(os.sched_getaffinity(0))\n"
        "def move():\n"
        "    while not over.is_set():\n"
        "        os.sched_setaffinity(0, cpus[:1]); time.sleep(0.001)\n"
        "        os.sched_setaffinity(0, cpus); time.sleep(0.001)\n"
        "thread = threading.Thread(target=move); thread.start()\n"
        "print(len({trained(k) for k in (1, 2, 3, 8, None)}))\n"
        "over.set(); thread.join()\n"
    )
    assert printed == ["1"]


def test_threads_at_work_do_not_keep_a_process_from_ending():
    run(
        "def forever():\n"
        "    while True: trained()\n"
        "for _ in range(2): threading.Thread(target=forever, daemon=True).start()\n"
        "time.sleep(0.3)\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="no such signal here")
def test_an_interrupt_ends_a_long_prediction_soon(interrupts):
    net = tinycnn.CNN((1, 32, 32), channels=(64, 64), n_classes=10)
    images = np.broadcast_to(np.zeros((1, 1, 32, 32), np.uint8), (200_000, 1, 32, 32))
    start = time.perf_counter()
    net.logits(images[:256])
    whole = (time.perf_counter() - start) / 256 * len(images)
    alarm = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        net.logits(images)
    assert time.perf_counter() - start < 0.5 + max(1, whole / 4)


def test_images_are_computed_alike_however_many_are_computed_in_one_go(monkeypatch):
    expected = new_net().logits(IMAGES, 2)
    monkeypatch.setattr(engine, "PRODUCTS_BETWEEN_LOOKS", 1)
    net = new_net()
    assert net.path._images_between_looks == net.path.plan.group_images
    np.testing.assert_array_equal(net.logits(IMAGES, 2), expected)
    assert net.logits(IMAGES[:0]).shape == (0, 10)
