"""Make ``optim_cases.npz``: twenty steps of PyTorch's optimisers, and its schedules.

For each optimiser the file holds the parameters after every step, in float64. All of them start
from the same parameters and are given the same gradients and factors of the learning rate. The
gradients are of all sizes, so that a misplaced epsilon shows; half of the parameters start at 0,
so that their relative error is that of the movement.

For each schedule it holds the factors of the learning rate at every step of n.

Run ``python tests/golden/make_optim_cases.py``; it needs PyTorch and rewrites the file beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler

SEED = 11
OUTPUT = Path(__file__).with_name("optim_cases.npz")
N_STEPS = 20
#: Size of the gradients of each parameter; each size comes twice.
SIZES = np.repeat(10.0 ** np.array([-10, -8, -6, -3, -1, 0, 2]), 2)

#: Name, class and arguments, which are the same here and there.
OPTIMISERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1, "momentum": 0.0}),
    "sgd_decay": ("SGD", {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.01}),
    "sgd_momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd_momentum_decay": ("SGD", {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.01}),
    "sgd_nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "sgd_nesterov_decay": (
        "SGD",
        {"lr": 0.05, "momentum": 0.7, "weight_decay": 0.02, "nesterov": True},
    ),
    "adam": ("Adam", {}),
    "adam_decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adam_betas": ("Adam", {"lr": 0.01, "betas": (0.7, 0.9), "eps": 1e-3}),
    "adam_betas_zero": ("Adam", {"lr": 0.01, "betas": (0.0, 0.0)}),
    "adamw": ("AdamW", {}),
    "adamw_no_decay": ("AdamW", {"weight_decay": 0.0}),
    "adamw_betas": ("AdamW", {"lr": 0.02, "betas": (0.7, 0.9), "weight_decay": 0.3}),
}

#: Share of the steps in which OneCycleLR rises, and number of steps.
ONE_CYCLES = [(0.3, 10), (0.3, 100), (0.25, 37), (0.1, 1000), (0.5, 20)]
N_COSINE = 50


def run(name: str, arguments: dict[str, Any], drawn: dict[str, np.ndarray]) -> np.ndarray:
    """Run an optimiser; return the parameters after each step (N_STEPS, n_parameters)."""
    flat = torch.tensor(drawn["start"], requires_grad=True)
    optimiser = getattr(torch.optim, name)([flat], **arguments)
    lr = optimiser.param_groups[0]["lr"]
    steps = []
    for gradient, factor in zip(drawn["gradients"], drawn["lr_factors"], strict=True):
        optimiser.param_groups[0]["lr"] = lr * factor
        flat.grad = torch.tensor(gradient)
        optimiser.step()
        steps.append(flat.detach().numpy().copy())
    return np.array(steps)


def factors(make: Any, n_steps: int) -> np.ndarray:
    """Return the learning rates that a scheduler gives to an optimiser whose highest one is 1."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimiser)
    rates = []
    for _ in range(n_steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return np.array(rates)


def main() -> None:
    """Run everything and write the file."""
    rng = np.random.default_rng(SEED)
    drawn = {
        "start": rng.normal(size=SIZES.size) * np.tile([1.0, 0.0], SIZES.size // 2),
        "gradients": rng.normal(size=(N_STEPS, SIZES.size)) * SIZES,
        "lr_factors": rng.uniform(0.2, 1.5, size=N_STEPS),
    }
    arrays = dict(drawn)
    for key, (name, arguments) in OPTIMISERS.items():
        arrays[f"optimisers/{key}/settings"] = np.array(json.dumps([name, arguments]))
        arrays[f"optimisers/{key}/steps"] = run(name, arguments, drawn)
    for warm_up, n_steps in ONE_CYCLES:
        arrays[f"one_cycle/{warm_up}/{n_steps}"] = factors(
            lambda o, w=warm_up, n=n_steps: lr_scheduler.OneCycleLR(
                o, max_lr=1.0, total_steps=n, pct_start=w
            ),
            n_steps,
        )
    arrays[f"cosine/{N_COSINE}"] = factors(
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=N_COSINE), N_COSINE
    )
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{len(OPTIMISERS)} optimisers, {OUTPUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
