"""The compiler has made vector instructions of the hot loops, in each build of the kernels.

A change of compiler or flags that loses them changes no result and costs a factor of five, so no
other test would notice. This one looks at the machine code: each hot loop must be there as a short
stretch of code that ends in a jump back and holds, for all lanes at once, the multiplications that
its source has, in registers of the width that the build is for.
"""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinycnn
from tinycnn.fast import dispatch

# Vector multiplications per turn: the forward loop over taps has 4 positions for 4 filters (2 where
# there are 16 registers); the weight gradient's loop over windows has 3 taps for 4 filters.
FORWARD = {"baseline": 8, "v3": 8, "v4": 16}
BACKWARD = dict.fromkeys(FORWARD, 12)
# The forward pass of the linear layer: five classes for two features.
LOGITS = 10
# A later block's loops over windows and over filters: 6 runs of a filter, and of a patch.
RUNS = 6
MULTIPLICATION = {
    "baseline": r"\bmulps\s.*%xmm",
    "v3": r"\bvfmadd\w+ps\s.*%ymm",
    "v4": r"\bvfmadd\w+ps\s.*%zmm",
}

LINE = re.compile(r"^\s*([0-9a-f]+):\s+(.*)$")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)\b")

pytestmark = pytest.mark.skipif(
    shutil.which("objdump") is None or not sys.platform.startswith("linux"),
    reason="needs objdump on Linux",
)


# Compilers leave their names in what they make.
BY_CLANG = b"clang version" in Path(dispatch.kernels.__file__).read_bytes()


@functools.cache
def disassembled(level):
    """Return the machine code of a build as text."""
    folder = Path(tinycnn.__file__).parent / ("" if level == "baseline" else f"_{level}")
    [path] = folder.glob("_kernels*.so")
    command = ["objdump", "--disassemble", "--no-show-raw-insn", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def innermost_loops(level):
    """Yield the instructions of every loop of a build that has no jump inside."""
    output = disassembled(level)
    code = [(int(m[1], 16), m[2]) for m in map(LINE.match, output.splitlines()) if m]
    index = {address: i for i, (address, _) in enumerate(code)}
    last_jump = 0
    for i, (address, text) in enumerate(code):
        jump = JUMP.match(text)
        if jump:
            start = index.get(int(jump[1], 16), i)
            if address > int(jump[1], 16) and start >= last_jump:
                yield [text for _, text in code[start:i]]
            last_jump = i


@pytest.mark.parametrize("level", dispatch.supported_levels())
def test_the_hot_loops_are_vector_code(level):
    multiplication = re.compile(MULTIPLICATION[level])
    counts = [
        sum(multiplication.search(text) is not None for text in loop)
        for loop in innermost_loops(level)
    ]
    assert FORWARD[level] in counts, "the convolution is not vectorised"
    assert BACKWARD[level] in counts, "the weight gradient is not vectorised"


@pytest.mark.parametrize("level", dispatch.supported_levels())
def test_the_sums_of_a_later_block_stay_in_registers(level):
    multiplication = re.compile(MULTIPLICATION[level])
    store = re.compile(r"\bv?mov[au]ps\s+%[xyz]mm\d+,.*\(")
    storeless = [
        loop
        for loop in innermost_loops(level)
        if sum(multiplication.search(text) is not None for text in loop) == RUNS
        and not any(map(store.search, loop))
    ]
    assert len(storeless) >= 2


@pytest.mark.skipif("v4" not in dispatch.supported_levels(), reason="needs AVX-512")
@pytest.mark.parametrize(("multiplications", "selections"), [(9, 12), (5, 9)], ids=["3x3", "5x5"])
def test_the_weight_gradient_selects_in_registers(multiplications, selections):
    multiplication = re.compile(MULTIPLICATION["v4"])
    # Where gcc blends two registers, clang moves the lanes that differ into one of them.
    selection = re.compile(r"\bv(blendmps|mov[au]ps)\s.*%zmm\d+\{%k")
    loops = [
        loop
        for loop in innermost_loops("v4")
        if sum(multiplication.search(text) is not None for text in loop) == multiplications
        and sum(selection.search(text) is not None for text in loop) >= selections
    ]
    # Clang has other pointers in %rbp, too: only what lies right below it is on the stack.
    on_stack = re.compile(r"\(%rsp|-0x\w+\(%rbp\)")
    assert any(not any(on_stack.search(text) for text in loop) for loop in loops)


@pytest.mark.parametrize("level", dispatch.supported_levels())
def test_the_forward_loop_stays_in_registers(level):
    multiplication = re.compile(MULTIPLICATION[level])
    loops = [
        loop
        for loop in innermost_loops(level)
        if sum(multiplication.search(text) is not None for text in loop) == FORWARD[level]
    ]
    assert any(not any("%rsp" in text for text in loop) for loop in loops)


@pytest.mark.parametrize("level", dispatch.supported_levels())
@pytest.mark.parametrize("count", [BACKWARD["v4"], LOGITS])
def test_the_sums_of_the_weight_gradient_and_of_the_linear_layer_stay_in_registers(level, count):
    if BY_CLANG and level == "baseline" and count == BACKWARD[level]:
        pytest.skip("clang keeps one of the twelve sums on the stack where there are 16 registers")
    multiplication = re.compile(MULTIPLICATION[level])
    loops = [
        loop
        for loop in innermost_loops(level)
        if sum(multiplication.search(text) is not None for text in loop) == count
    ]
    from_stack = re.compile(r"(-0x\w+\(%rbp|\(%rsp)\S*,.*%[xyz]mm")
    assert any(not any(from_stack.search(text) for text in loop) for loop in loops)


@pytest.mark.skipif("v4" not in dispatch.supported_levels(), reason="needs AVX-512")
def test_the_gradient_of_the_pooled_values_keeps_that_of_the_logits_in_registers():
    # Ten classes for one feature: two sums begin with a product each.
    product = re.compile(r"\bv(mul|fmadd\w+)ps\s.*%zmm")
    loops = [
        loop
        for loop in innermost_loops("v4")
        if sum(product.search(text) is not None for text in loop) == 10
        and sum("vmulps" in text for text in loop) == 2
    ]
    assert any(sum("%zmm" in text for text in loop) == 12 for loop in loops)


@pytest.mark.skipif("v4" not in dispatch.supported_levels(), reason="needs AVX-512")
@pytest.mark.skipif(BY_CLANG, reason="clang shuffles in loops, from stack to stack")
def test_bytes_are_packed_by_shuffles_of_words():
    # Eight registers, interleaved three times; the copies before may be a loop of their own.
    stretches = re.split(r"\n.*\tj\w+\s", disassembled("v4"))
    shuffle = re.compile(r"\bvperm[ti]2d\s.*%zmm")
    assert any(len(shuffle.findall(stretch)) == 24 for stretch in stretches)


def lines_with(pattern, loop):
    return sum(re.search(pattern, text) is not None for text in loop)


@pytest.mark.parametrize("level", dispatch.supported_levels())
@pytest.mark.parametrize("kind", ["ps", "pd"])
def test_steps_of_the_optimisers_are_vector_code(level, kind):
    register = {"baseline": "%xmm", "v3": "%ymm", "v4": "%zmm"}[level]
    sgd = adam = False
    for loop in innermost_loops(level):
        stores = lines_with(rf"\bv?mov[au]p[sd]\s+{register}\d+,.*\(.*$", loop)
        comparisons = lines_with(rf"\bv?cmp\w*{kind}\s.*{register}", loop)
        products = lines_with(rf"\bv?(mul|fn?m(add|sub)\w+){kind}\s.*{register}", loop)
        roots = lines_with(rf"\bv?sqrt{kind}\s.*{register}", loop)
        divisions = lines_with(rf"\bv?div{kind}\s.*{register}", loop)
        # Each vector of parameters is stored once, with one sum in SGD and two in Adam, one of
        # which is compared with the smallest that is kept.
        sgd |= roots == 0 and comparisons > 0 and products >= stores == 2 * comparisons
        adam |= roots > 0 and roots == divisions == comparisons and stores == 3 * roots
    assert sgd, "SGD is not vectorised"
    assert adam, "Adam is not vectorised"


def test_the_builds_for_newer_processors_use_their_instructions_and_the_baseline_none():
    for level in dispatch.supported_levels():
        code = disassembled(level)
        assert ("%ymm" in code) == (level != "baseline")
        assert ("%zmm" in code) == (level == "v4")
