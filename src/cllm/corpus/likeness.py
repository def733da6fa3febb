"""How like the training files the held-out ones are: what a compressor needs for these once it has read those.

It says what a network can expect to find again, in half a second and before anything is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyppmd

TRAINING_BYTES, HELD_OUT_BYTES = 2 << 20, 256 << 10  # that are looked at, at most
_ORDER = 16
_MEMORY = 64 * TRAINING_BYTES  # bytes: more than the model of so much code needs


def ppmd_bits_per_byte(training: Iterable[bytes], held_out: Iterable[bytes]) -> float | None:
    """Bits per byte of PPMd (variant I, order 16) for the texts `held_out` after the texts `training`.

    Only so many bytes of each are looked at. None if there is nothing held out, or too little memory.
    """
    known, new = b"\n".join(training)[:TRAINING_BYTES], b"\n".join(held_out)[:HELD_OUT_BYTES]
    if not new:
        return None
    try:
        encoder = pyppmd.Ppmd8Encoder(_ORDER, _MEMORY)
    except MemoryError:
        return None
    encoder.encode(known)
    return 8 * (len(encoder.encode(new)) + len(encoder.flush())) / len(new)
