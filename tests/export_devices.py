"""Builds exported C for small machines and runs it in emulators, for tests and benchmarks.

Debian's packages gcc-arm-none-eabi, picolibc-arm-none-eabi and qemu-system-arm are needed for
Cortex-M; gcc-avr, avr-libc and simavr for AVR.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from export_c import COMPILERS, installed, run


class CortexM(NamedTuple):
    """A machine of QEMU: its name there, flags of the compiler, and where its memory lies."""

    machine: str
    flags: tuple[str, ...]
    ram_bytes: int = 0x400000
    flash_bytes: int = 0x400000


CORTEX_M = {
    "M0": CortexM("microbit", ("-mcpu=cortex-m0",), 0x4000, 0x40000),
    "M4": CortexM("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")),
    "M7": CortexM("mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")),
}
ARM_TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
AVR_TOOLS = ("avr-gcc", "simavr")

# An emulated instruction takes 16 ns, a tick of the timer 40 ns.
INSTRUCTION_NS, TICK_NS = 16, 40

ARM_MAIN = """
#include <stdio.h>
#include "{name}_test.h"
#define TIMER_CONTROL (*(volatile uint32_t *)0xe000e010)
#define TIMER_RELOAD (*(volatile uint32_t *)0xe000e014)
#define TIMER_VALUE (*(volatile uint32_t *)0xe000e018)
int main(void)
{{
    static {name}_pixel image[{upper}_PIXELS];
    {name}_logit logits[{upper}_CLASSES];
    uint32_t before, after;
    int i;
    for (i = 0; i < {upper}_PIXELS; i++)
        image[i] = {name}_test_images[i];
    TIMER_RELOAD = 0xffffff;
    TIMER_VALUE = 0;
    TIMER_CONTROL = 5;
    before = TIMER_VALUE;
    {name}_logits(image, logits);
    after = TIMER_VALUE;
    printf("ticks %lu\\n", (unsigned long)((before - after) & 0xffffff));
    printf("failed %d of %d\\n", {name}_test(), {upper}_TEST_IMAGES);
    return 0;
}}
"""

AVR_MAIN = """
#include <avr/io.h>
#include <avr/interrupt.h>
#include <avr/sleep.h>
#include <stdio.h>
#include "{name}_test.h"
static int put(char c, FILE *stream)
{{
    (void)stream;
    while (!(UCSR0A & (1 << UDRE0)))
        ;
    UDR0 = (uint8_t)c;
    return 0;
}}
static FILE out = FDEV_SETUP_STREAM(put, NULL, _FDEV_SETUP_WRITE);
static volatile uint16_t overflows;
ISR(TIMER1_OVF_vect) {{ overflows++; }}
int main(void)
{{
    static {name}_pixel image[{upper}_PIXELS];
    {name}_logit logits[{upper}_CLASSES];
    uint32_t cycles;
    UCSR0B = 1 << TXEN0;
    stdout = &out;
    TIMSK1 = 1 << TOIE1;
    TCCR1B = 1;
    sei();
    {name}_logits(image, logits);
    cycles = ((uint32_t)overflows << 16) + TCNT1;
    cli();
    printf("cycles %lu\\n", (unsigned long)cycles);
    printf("failed %d of %d\\n", {name}_test(), {upper}_TEST_IMAGES);
    sleep_enable();
    sleep_cpu();
    return 0;
}}
"""


class Report(NamedTuple):
    """What a run in an emulator told.

    Attributes
    ----------
    failed, images : int
        How many of the test header's images had other logits.
    cost : int
        Instructions (Cortex-M) or cycles (AVR) of one image.
    """

    failed: int
    images: int
    cost: int


def run_cortex_m(folder: Path, name: str, core: str, flags: tuple[str, ...] = ("-O2",)) -> Report:
    """Run NAME.h, NAME.c and NAME_test.h of a folder on a Cortex-M of QEMU."""
    device = CORTEX_M[core]
    (folder / "main.c").write_text(ARM_MAIN.format(name=name, upper=name.upper()))
    memory = (
        f"-Wl,--defsym=__flash=0,--defsym=__flash_size={device.flash_bytes},"
        f"--defsym=__ram=0x20000000,--defsym=__ram_size={device.ram_bytes},"
        "--defsym=__stack_size=0x800"
    )
    program = folder / f"{core}.elf"
    run(
        [
            "arm-none-eabi-gcc", "-std=c99", "-mthumb", *device.flags, *flags,
            "--specs=picolibc.specs", "--oslib=semihost", "--crt0=semihost", memory,
            folder / "main.c", folder / f"{name}.c", "-lm", "-o", program,
        ]
    )  # fmt: skip
    printed = run(
        [
            "qemu-system-arm", "-M", device.machine, "-nographic", "-monitor", "none",
            "-serial", "none", "-semihosting-config", "enable=on,target=native",
            "-icount", "shift=4", "-kernel", program,
        ]
    )  # fmt: skip
    failed, images = _numbers(r"failed (\d+) of (\d+)", printed)
    (ticks,) = _numbers(r"ticks (\d+)", printed)
    return Report(failed, images, ticks * TICK_NS // INSTRUCTION_NS)


def run_avr(folder: Path, name: str) -> Report:
    """Run NAME.h, NAME.c and NAME_test.h of a folder on an ATmega328P of simavr."""
    program = build_avr(folder, name)
    printed = run(["timeout", "300", "simavr", "-m", "atmega328p", "-f", "16000000", program])
    failed, images = _numbers(r"failed (\d+) of (\d+)", printed)
    (cycles,) = _numbers(r"cycles (\d+)", printed)
    return Report(failed, images, cycles)


def build_avr(folder: Path, name: str, main: str = AVR_MAIN) -> Path:
    """Compile for an ATmega328P."""
    (folder / "main.c").write_text(main.format(name=name, upper=name.upper()))
    program = folder / "avr.elf"
    flags = [*COMPILERS["avr-gcc"], "-Os", "-DF_CPU=16000000UL"]
    run(["avr-gcc", *flags, folder / "main.c", folder / f"{name}.c", "-lm", "-o", program])
    return program


def sizes(program: Path, tool: str) -> tuple[int, int]:
    """Return the bytes of flash memory and of RAM (without the stack) of a program."""
    text, data, bss = _numbers(r"\n\s*(\d+)\s+(\d+)\s+(\d+)", run([tool, program]))
    return text + data, data + bss


def _numbers(pattern: str, text: str) -> tuple[int, ...]:
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in {text!r}"
    return tuple(int(number) for number in found.groups())


__all__ = ["ARM_TOOLS", "AVR_TOOLS", "CORTEX_M", "installed", "run_avr", "run_cortex_m", "sizes"]
