"""Entering the kernel by another architecture's door ends the process."""

import platform

import pytest

THIRTY_TWO_BITS = "b814000000cd80c3"
"""``mov eax, 20; int 0x80; ret``: getpid by the 32-bit table."""
SIXTY_FOUR_BITS = "b8270000000f05c3"
"""``mov eax, 39; syscall; ret``: getpid by the 64-bit table."""
X32 = "b8270000400f05c3"
"""``mov eax, 0x40000027; syscall; ret``: getpid by the table of 32-bit pointers."""
GETPID = {"x86_64": SIXTY_FOUR_BITS, "aarch64": "881580d2010000d4c0035fd6"}[platform.machine()]


def enters(kit, code):
    """Run machine code from memory of one's own."""
    import ctypes
    import mmap
    import os

    page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
    page.write(bytes.fromhex(code))
    call = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return [call(), os.getpid()]


if platform.machine() == "x86_64":

    def test_the_32_bit_door_ends_the_process(escape, profile):
        seen = escape(enters, THIRTY_TWO_BITS, profile=profile)
        assert seen.status == "crashed"
        assert seen.outcome["exit"]["signal"] in ("SIGSYS", "SIGSEGV")

    def test_the_x32_table_does_not_exist(escape, profile):
        assert escape(enters, X32, profile=profile).report[0] == -38


@pytest.mark.parametrize("code", [GETPID])
def test_the_own_door_works(escape, profile, code):
    own, known = escape(enters, code, profile=profile).report
    assert own == known
