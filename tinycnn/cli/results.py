"""How results are told."""

from __future__ import annotations

from collections.abc import Iterator

from tinycnn.evaluation import Evaluation


def accuracy_line(result: Evaluation) -> str:
    """Tell what an accuracy rests on."""
    low, high = result.interval
    return (
        f"of {result.n_images} images; 95% interval {low:.1%} to {high:.1%}; always answering "
        f"{result.class_names[result.majority_class]} is right in {result.majority_share:.1%}"
    )


def class_lines(result: Evaluation) -> Iterator[str]:
    """Tell the accuracy of each class that has images."""
    width = max(map(len, result.class_names))
    for name, n, right in zip(
        result.class_names, result.class_counts, result.class_right, strict=True
    ):
        if n:
            yield f"{name:{width}}  {right / n:7.2%} of {n}"
