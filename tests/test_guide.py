"""The guide: its code prints what it says, every public name has an example, links lead on."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_checks import NOTHING, WAYS, look_at
from guide_pages import DOCS, blocks_of, pages, require_alike, run_page

import tinycnn

ROOT = DOCS.parent
GOLDEN = Path(__file__).parent / "golden"
PAGES = pages()
# Three have tests of their own; the others are for those who build and release.
RUN_ELSEWHERE = ("layers", "export", "what-changed", "building", "fast-path")
NOT_RUN_HERE = {Path(f"{name}.md") for name in RUN_ELSEWHERE}

# Modules whose public names the reference has, each with an example.
MODULES = [
    "tinycnn",
    "tinycnn.layers",
    "tinycnn.functional",
    "tinycnn.data",
    "tinycnn.evaluation",
    "tinycnn.inspection",
    "tinycnn.export",
    "tinycnn.plots",
    "tinycnn.report",
    "tinycnn.sklearn",
    "tinycnn.dask",
    "tinycnn.zoo",
]


# What some of them need.
NEEDS = {"tinycnn.sklearn": "sklearn", "tinycnn.dask": "distributed"}


@pytest.fixture(autouse=True)
def _nothing_stays(registered: object) -> Iterator[None]:
    options = np.get_printoptions()
    yield
    np.set_printoptions(
        **{name: value for name, value in options.items() if name != "override_repr"}
    )
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def needs(page: Path) -> list[str]:
    """List the libraries that a page's code imports and tinycnn does not need."""
    text = "\n".join(block.text for block in blocks_of(page))
    words = {
        "matplotlib": "matplotlib|tinycnn.plots|tinycnn import plots|report",
        "sklearn": "sklearn",
        "PIL": "photos|read_image|image_folder",
        "onnx": "onnx",
        "safetensors": "safetensors",
        "distributed": "dask",
    }
    return [library for library, pattern in words.items() if re.search(pattern, text)]


def make_photos(folder: Path) -> None:
    """Make what a reader of the guide has: pictures of two kinds, in a folder each."""
    image_module = importlib.import_module("PIL.Image")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(20):
            picture = rng.integers(0, 90, (48, 40, 3), dtype=np.uint8)
            rows = slice(6, 24) if label else slice(24, 42)
            picture[rows, 6:34, 0] += 120
            image_module.fromarray(picture).save(folder / "photos" / name / f"{i}.png")
    shutil.copy(folder / "photos" / "cat" / "3.png", folder / "new-photo.png")


@pytest.mark.parametrize("page", sorted(set(PAGES) - NOT_RUN_HERE), ids=str)
def test_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in needs(page):
        pytest.importorskip(library)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    text = (DOCS / page).read_text(encoding="utf-8")
    if "```c\n" in text and shutil.which("cc") is None:
        pytest.skip("no C compiler is called cc here")
    if "photo" in text:
        make_photos(tmp_path)
    run_page(page, tmp_path)


def test_a_model_of_0_1_0_computes_the_same_once_it_is_carried_over(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "model_0_1_0.npz", tmp_path / "old.npz")
    run_page(Path("what-changed.md"), tmp_path)
    net = tinycnn.load_model(tmp_path / "new.npz")
    with np.load(GOLDEN / "logits_0_1_0.npz") as golden:
        np.testing.assert_allclose(
            net.logits(tinycnn.load_digits()[0][:20]), golden["logits"], rtol=1e-4, atol=1e-5
        )
    assert net.class_names == tuple("abcdefghij")


# What no test runs, by page: the first words of the block, and why.
UNEXECUTED = {
    "building.md": {
        "$ pip install --editable .": "make .venv/installed, before all tests",
        "$ make release": "takes many minutes",
        "$ make linkcheck": "needs a network",
        "$ python tools/cut_release.py": "tests/test_tools.py runs it on copies",
    },
}


@pytest.mark.parametrize("name", RUN_ELSEWHERE)
def test_a_block_that_is_not_run_has_a_reason(name: str) -> None:
    tested = {"layers": ("python",), "export": ("python", "c"), "what-changed": ("python",)}
    reasons = dict(UNEXECUTED.get(f"{name}.md", {}))
    for block in blocks_of(Path(f"{name}.md")):
        if not block.kind.startswith(("text", "{")) and block.kind not in tested.get(name, ()):
            [found] = [start for start in reasons if block.text.startswith(start)]
            del reasons[found]
    assert not reasons, "these run or are gone"


def test_what_a_page_prints_is_compared() -> None:
    require_alike("accuracy 97.2% after 0.3 s\n", "accuracy 98.0% after 1.1 s\n", "here")
    require_alike("one\ntwo\nthree\n", "one\n...\n", "here")
    for wrong in ("accuracy 93.0% after 1.1 s\n", "97.2% after 1.1 s\n"):
        with pytest.raises(AssertionError):
            require_alike("accuracy 97.2% after 0.3 s\n", wrong, "here")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```python\n>>> 1 + 1\n3\n```", "Got"),
        ("```python\nprint(1)\n```\n\nprints\n\n```text\n2\n```", "where the page has"),
        ("```console\n$ echo one\ntwo\n```", "where the page has"),
        ("```console\n$ false\n```", "false"),
        ("```java\nint x;\n```", "nobody runs 'java'"),
    ],
)
def test_a_wrong_page_is_found(block: str, message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("guide_pages.DOCS", tmp_path)
    (tmp_path / "page.md").write_text(f"# Page\n\n{block}\n")
    with pytest.raises(AssertionError, match=message):
        run_page(Path("page.md"), tmp_path)


# ------------------------------------------------------------------------------------ the reference


def documented_names() -> dict[str, str]:
    """Map each name that the reference documents to what stands below it, up to the next one."""
    found = {}
    for page in PAGES:
        if page.parts[0] == "reference":
            text = (DOCS / page).read_text(encoding="utf-8")
            pieces = re.split(r"^\.\. auto(?:class|function):: ([\w.]+)$", text, flags=re.MULTILINE)
            found.update(zip(pieces[1::2], pieces[2::2], strict=True))
    return found


def public_names() -> Iterator[str]:
    """Yield the full name of everything public."""
    for module_name in MODULES:
        if module_name in NEEDS:
            pytest.importorskip(NEEDS[module_name])
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and callable(value)
            and getattr(value, "__module__", "") == module_name
        ]
        yield from (f"{module_name}.{name}" for name in names)


# Helpers that other modules import, and what `register` fills, which its example shows.
NOT_DOCUMENTED = {
    "tinycnn.evaluation.listed",
    "tinycnn.functional.as_padding",
    "tinycnn.functional.border_of",
    "tinycnn.functional.unchecked_softmax",
    "tinycnn.layers.LAYERS",
}


def test_every_public_name_is_documented_with_an_example_that_is_run() -> None:
    documented = documented_names()
    objects = {id(_found(name)): text for name, text in documented.items()}
    for name in public_names():
        if name not in NOT_DOCUMENTED:
            text = objects.get(id(_found(name)), documented.get(name))
            assert text is not None, f"{name} is not in docs/reference"
            last = name.rsplit(".", 1)[1]
            examples = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
            assert last in examples, f"{name} has no example in docs/reference"


def test_what_the_reference_documents_is_there() -> None:
    for name in documented_names():
        if not name.startswith(tuple(NEEDS)):
            _found(name)


def _found(name: str) -> object:
    """Find what a full name means."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


# ------------------------------------------------------------------------------- the worked example


def test_the_pictures_show_the_numbers_of_the_page(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "_ext")
    example = importlib.import_module("worked_example")
    names: dict[str, object] = {}
    for block in blocks_of(Path("one-page.md")):
        if block.kind == "python":
            lines = [line[4:] for line in block.text.splitlines() if line[:3] in (">>>", "...")]
            exec("\n".join(lines), names)
    np.testing.assert_array_equal(names["x"], example.IMAGES)
    np.testing.assert_array_equal(names["w_conv"], example.W_CONV)
    np.testing.assert_array_equal(names["w_fc"], example.W_FC)
    found = example.compute()
    for name in ("conv", "relu", "pool", "winner", "dlogits", "dpool", "dconv", "dw_conv"):
        np.testing.assert_allclose(names[name], getattr(found, name), rtol=1e-12)


def test_what_a_student_computes_by_hand_is_what_functional_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(DOCS / "_ext")
    text = (DOCS / "one-page.md").read_text(encoding="utf-8")
    [steps] = re.findall(
        r"^## One weight by hand\n(.*?)^The same with all digits", text, re.M | re.S
    )
    steps = steps.replace("\N{MINUS SIGN}", "-")
    numbers = [float(each) for each in re.findall(r"(?:Product|Sum): .* = (\S+)\.$", steps, re.M)]
    assert len(numbers) == 3
    gradient = _by_functional()[1, 0, 1, 1]
    assert numbers[-1] == round(gradient, 4)
    assert round(numbers[0] + numbers[1], 4) == numbers[2]


def _by_functional() -> np.ndarray:
    """The gradient of the filters of the worked example, by the checked functions alone."""
    from tinycnn import functional as f

    example = importlib.import_module("worked_example")
    out, conv = f.conv2d_forward(example.IMAGES, example.W_CONV)
    out, relu = f.relu_forward(out)
    out, pool = f.max_pool2d_forward(out)
    out, linear = f.linear_forward(out.reshape(2, -1), example.W_FC.T)
    _, loss = f.cross_entropy_forward(out, example.LABELS)
    dflat, _ = f.linear_backward(f.cross_entropy_backward(1.0, loss), linear)
    dout = f.max_pool2d_backward(dflat.reshape(2, 2, 1, 1), pool)
    _, dweight = f.conv2d_backward(f.relu_backward(dout, relu), conv)
    return dweight


# ----------------------------------------------------------------------------------- the whole


def test_every_extra_is_in_the_table_of_promises() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (DOCS / "promises.md").read_text().partition("| extra |")[2]
    named = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()[2:]]
    assert {*sum(named, ["all"])} == set(project["optional-dependencies"])


def test_every_page_is_in_the_table_of_contents() -> None:
    listed: set[str] = set()
    for page in PAGES:
        for block in blocks_of(page):
            if block.kind == "{toctree}":
                lines = [line for line in block.text.splitlines() if line and line[0] != ":"]
                listed |= {str((page.parent / line.strip()).as_posix()) for line in lines}
    assert {page.with_suffix("").as_posix() for page in PAGES} - {"index"} <= listed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for library in ("sphinx", "furo", "myst_parser", "numpydoc", "sphinx_gallery", "latex2mathml"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("guide")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_guide_is_built_without_a_warning(built: Path) -> None:
    assert (built / "one-page.html").exists()
    assert (built / "_static" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index", "one-page", "understand", "fast", "reference/training"])
def test_a_page_asks_nothing_of_the_network(page: str, built: Path) -> None:
    text = (built / f"{page}.html").read_text(encoding="utf-8")
    assert not re.search(r'<(?:script|img|link)[^>]*(?:src|href)="(?:https?:)?//', text)


@pytest.mark.slow
@pytest.mark.parametrize(("shade", "width"), WAYS)
@pytest.mark.parametrize("page", ["one-page", "understand"])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    page: str, shade: str, width: int, built: Path
) -> None:
    assert look_at(built / f"{page}.html", shade, width) == NOTHING
