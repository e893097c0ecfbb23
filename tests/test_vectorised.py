"""The compiler has kept the hot loops in vector registers, in each build of the kernels.

A change of compiler or flags that loses them changes no result and costs a factor of two to ten, so
no other test would notice. This one looks at the machine code: a tile's loop must be there as a
short stretch of code that ends in a jump back and holds all its multiplications, for all lanes at
once, in registers of the width that the build is for, with none of them on the stack.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinycnn
from tinycnn.fast import dispatch

REGISTER = {"baseline": "xmm", "v3": "ymm", "v4": "zmm"}
# Multiplications of each tile: filters x 4 positions directly, 4 filters x 3 windows by Winograd,
# ten outputs of a linear layer; the first block's dweight, 4 filters x 3 taps or, with 32
# registers, all taps of a 3x3 kernel and a row of five.
TILES = {"baseline": {8, 12, 10}, "v3": {12, 10}, "v4": {16, 12, 10, 9, 5}}

LINE = re.compile(r"^\s*([0-9a-f]+):\s+(.*)$")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)\b")

# Compilers leave their names in what they make.
BY_CLANG = b"clang version" in next(Path(tinycnn.__file__).parent.glob("_kernels*.so")).read_bytes()

pytestmark = pytest.mark.skipif(
    shutil.which("objdump") is None or not sys.platform.startswith("linux"),
    reason="needs objdump on Linux",
)


def disassembled(level, folder):
    """Return the machine code of a build as text."""
    name = "" if level == "baseline" else f"_{level}"
    [path] = (Path(tinycnn.__file__).parent / f"{name}{folder}").glob("_kernels*.so")
    command = ["objdump", "--disassemble", "--no-show-raw-insn", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def innermost_loops(output):
    """Yield the instructions of every loop that has no jump inside."""
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
@pytest.mark.parametrize(("folder", "kind"), [("", "ps"), ("_double", "pd")])
def test_tiles_stay_in_registers(level, folder, kind):
    register = REGISTER[level]
    product = re.compile(rf"\b(v?mul|vfn?madd\w+){kind}\s.*%{register}")
    # Clang has other pointers in %rbp, too: only what lies right below it is on the stack.
    spill = re.compile(
        rf"(\(%rsp|-0x\w+\(%rbp).*%{register}|%{register}\d+,.*(\(%rsp|-0x\w+\(%rbp)"
    )
    tiles = [
        (sum(product.search(text) is not None for text in loop), loop)
        for loop in innermost_loops(disassembled(level, folder))
    ]
    kept = {n for n, loop in tiles if not any(map(spill.search, loop))}
    assert kept >= TILES[level]


@pytest.mark.skipif(BY_CLANG, reason="clang makes other vector code of them, as fast")
@pytest.mark.parametrize("level", dispatch.supported_levels())
@pytest.mark.parametrize(("folder", "kind"), [("", "ps"), ("_double", "pd")])
def test_steps_of_the_optimisers_are_vector_code(level, folder, kind):
    register = f"%{REGISTER[level]}"

    def count(pattern, loop):
        return sum(re.search(pattern, text) is not None for text in loop)

    sgd = adam = False
    for loop in innermost_loops(disassembled(level, folder)):
        stores = count(rf"\bv?mov[au]p[sd]\s+{register}\d+,.*\(.*$", loop)
        comparisons = count(rf"\bv?cmp\w*{kind}\s.*{register}", loop)
        products = count(rf"\bv?(mul|fn?m(add|sub)\w+){kind}\s.*{register}", loop)
        roots = count(rf"\bv?sqrt{kind}\s.*{register}", loop)
        divisions = count(rf"\bv?div{kind}\s.*{register}", loop)
        # Each vector of parameters is stored once, with one sum in SGD and two in Adam, one of
        # which is compared with the smallest that is kept.
        sgd |= roots == 0 and comparisons > 0 and products >= stores == 2 * comparisons
        adam |= roots > 0 and roots == divisions == comparisons and stores == 3 * roots
    assert sgd, "SGD is not vectorised"
    assert adam, "Adam is not vectorised"


@pytest.mark.parametrize("folder", ["", "_double"])
def test_the_builds_for_newer_processors_use_their_instructions_and_the_baseline_none(folder):
    for level in dispatch.supported_levels():
        code = disassembled(level, folder)
        assert ("%ymm" in code) == (level != "baseline")
        assert ("%zmm" in code) == (level == "v4")
