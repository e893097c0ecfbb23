"""Save to one path from many threads while others load.

Usage: saves.py N

Every load must be one of the networks that were saved, whole.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

import tinycnn

WRITERS = 4


def main() -> None:
    """Save N times in all."""
    n = int(sys.argv[1])
    nets = [tinycnn.CNN((1, 8, 8), channels=(4,), n_classes=10, seed=i) for i in range(WRITERS)]
    known, loads, problems = {net.flat.tobytes() for net in nets}, [0], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.npz"
        tinycnn.save_model(nets[0], path)

        def save(net: tinycnn.CNN) -> None:
            for _ in range(n // WRITERS):
                try:
                    tinycnn.save_model(net, path)
                except OSError as error:
                    problems.append(f"not saved: {error}")

        threads = [threading.Thread(target=save, args=(net,)) for net in nets]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            loads[0] += 1
            try:
                if tinycnn.load_model(path).flat.tobytes() not in known:
                    problems.append("a network that nobody saved")
            except (ValueError, OSError) as error:
                problems.append(str(error))
        left = os.listdir(folder)
    print(
        f"saves: {n} saves, {loads[0]} loads, {len(problems)} problems, left: {left}", *problems[:3]
    )
    sys.exit(bool(problems or left != ["m.npz"]))


if __name__ == "__main__":
    main()
