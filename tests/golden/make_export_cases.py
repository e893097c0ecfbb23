"""Store what PyTorch computes with the source and the weights that are exported to it.

Needs torch and safetensors: ``python tests/golden/make_export_cases.py``. Run it again when
:func:`tinycnn.export.pytorch_source` or the cases change.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from export_cases import CASES, make_images, make_net  # noqa: E402

from tinycnn.export import pytorch_source, to_safetensors  # noqa: E402


def main() -> None:
    """Run the source of each case in PyTorch."""
    import torch

    stored: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for case in CASES:
            net = make_net(case)
            to_safetensors(net, "model.safetensors")
            source = pytorch_source(net)
            namespace: dict[str, Any] = {}
            exec(source, namespace)
            images = torch.from_numpy(make_images(net))
            stored[case] = namespace["predict_proba"](images).numpy()
            stored[f"{case}: source"] = np.array(source)
    np.savez_compressed(TESTS / "golden" / "export_pytorch.npz", **stored)
    print(f"{len(CASES)} cases computed by PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
