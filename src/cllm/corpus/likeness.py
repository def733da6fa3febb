"""How like the training files the held-out ones are: what a compressor needs for these once it has read those.

It says what a network can expect to find again, in half a second and before anything is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable

from cllm import ppmd

TRAINING_BYTES, HELD_OUT_BYTES = 2 << 20, 256 << 10  # that are looked at, at most


def ppmd_bits_per_byte(training: Iterable[bytes], held_out: Iterable[bytes]) -> float | None:
    """Bits per byte of PPMd for the texts `held_out` after the texts `training`.

    Only so many bytes of each are looked at. None if there is nothing held out, or too little memory.
    """
    known, new = b"\n".join(training)[:TRAINING_BYTES], b"\n".join(held_out)[:HELD_OUT_BYTES]
    if not new:
        return None
    try:
        return 8 * ppmd.conditional_bytes(known, new) / len(new)
    except MemoryError:
        return None
