"""Workers that die, hang or are restarted: the same bits in the end, or words."""

import os
import signal
import time

import numpy as np
import pytest
from conftest import small_net

pytest.importorskip("distributed")

import dask
from dask_cluster import cluster

from tinycnn.dask import fit, shards
from tinycnn.training.callbacks import Callback

QUICK = {"batch_size": 50, "epochs": 3, "verbose": False}


def part(seed, n=80):
    """Make a shard from nothing but a number, as from a file."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8), rng.integers(0, 10, n)


def trained(n_parts=3, **arguments):
    net = small_net()
    fit(net, shards([dask.delayed(part)(i) for i in range(n_parts)]), **QUICK, **arguments)
    return net.flat


class Blow(Callback):
    """Strikes three times in a training, once in each epoch."""

    def __init__(self, client, strike):
        self.client, self.strike, self.n_batches = client, strike, 0

    def on_batch_end(self, state):
        self.n_batches += 1
        if self.n_batches % state.batches_per_epoch == 1:
            self.strike(self.client)


def kill(client):
    """Kill one of the workers that hold a shard, as the system does where memory is short."""
    holders = [workers[0] for workers in client.who_has().values() if workers]
    pids = client.run(os.getpid)
    os.kill(pids[holders[0]], signal.SIGKILL)


def pause(client):
    """Stop a worker for a moment."""
    pid = next(iter(client.run(os.getpid).values()))
    os.kill(pid, signal.SIGSTOP)
    client.loop.call_later(0.5, os.kill, pid, signal.SIGCONT)


def restart(client):
    """Start all workers anew: whatever they held is forgotten."""
    client.restart(timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
@pytest.mark.parametrize("every", [None, 1])
def test_killed_paused_and_restarted_workers_change_no_bit(every, tmp_path):
    with cluster(1):
        expected = trained(average_every=every)
    with cluster(2, processes=True) as client:
        np.testing.assert_array_equal(trained(average_every=every), expected)
        for strike in (kill, pause, restart):
            blow = Blow(client, strike)
            flat = trained(average_every=every, callbacks=blow)
            assert blow.n_batches > 3
            np.testing.assert_array_equal(flat, expected)


def test_a_worker_that_leaves_takes_no_bit_with_it():
    with cluster(1):
        expected = trained()

    def leave(client):
        if len(client.scheduler_info()["workers"]) > 1:
            client.retire_workers([next(iter(client.who_has().values()))[0]], close_workers=True)

    with cluster(3) as client:
        flat = trained(callbacks=Blow(client, leave))
        assert len(client.scheduler_info()["workers"]) == 1
    np.testing.assert_array_equal(flat, expected)


def test_large_messages_are_put_on_a_worker_once(monkeypatch):
    with cluster(2):
        expected = trained(average_every=2)
        monkeypatch.setattr("tinycnn.dask.crew.LARGE_MESSAGE", 0)
        np.testing.assert_array_equal(trained(average_every=2), expected)


def test_every_wait_has_an_end():
    def sleep():
        time.sleep(1)
        return part(0)

    with cluster(1):
        some = shards([dask.delayed(sleep)()])
        with pytest.raises(TimeoutError, match=r"no answer from all 1 shards after 0\.2 s"):
            fit(small_net(), some, timeout=0.2, **QUICK)
    with cluster(0), pytest.raises(TimeoutError, match="are there workers that run"):
        trained(timeout=0.2)


def test_shards_that_cannot_be_made_again_are_told():
    with cluster(1) as client:
        lost = client.submit(part, 0)
        some = shards([dask.delayed(lost)])
        client.cancel([lost], force=True)
        with pytest.raises(RuntimeError, match="lost its shards 3 times in a row"):
            fit(small_net(), some, timeout=20, **QUICK)


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_is_told():
    with cluster(1, processes=True):
        some = shards([dask.delayed(os._exit)(1)])
        with pytest.raises(RuntimeError, match="killed its workers again and again"):
            fit(small_net(), some, timeout=120, **QUICK)


def test_no_client_is_told():
    with pytest.raises(ValueError, match="client: there is none; make one first"):
        trained()


def test_what_is_asked_leaves_nothing_on_the_workers():
    with cluster(2) as client:
        trained()
        deadline = time.monotonic() + 5
        while client.who_has() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not client.who_has()
