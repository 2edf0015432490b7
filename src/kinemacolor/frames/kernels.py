"""Cutting windows out of frames that lie in memory maps, mirrored or not, to bytes or straight to Lab: compiled.

A frame is given by the address of its first byte, so that one call serves a batch whose frames lie in any number of shards,
and of a frame only the rows and columns of its window are read. For Lab the bytes are cut into a small buffer that stays in
the core's cache, and turned to Lab from there. Whatever the number of threads, the result is the same to the byte.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kinemacolor import lab_kernels
from kinemacolor.compiled import compiled, in_slabs
from kinemacolor.frames.window import Window

_LEAST, _SLAB = 2**15, 2**18
"""Pixels to a slab. Their bytes stay in the cache until they are Lab; and a slab takes up to .4 ms, since threads that come back
for the interpreter's lock too often wait for each other where cores are scarce."""

_BYTE = ir.IntType(8)
_MANY = 32
"""Bytes that are moved at a time."""
_SHORT = 512
"""Bytes of a row from which on the C library copies it faster than we do."""


@intrinsic
def _copy(context, target, source, count):
    """Copy bytes from one address to another: the C library's way, which no loop of ours reaches."""

    def generate(context, builder, signature, arguments):
        target, source = (builder.inttoptr(address, _BYTE.as_pointer()) for address in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _moving(count, *, mirrored):
    """An intrinsic that copies this many bytes from one address to another; mirrored, the last one comes first."""

    @intrinsic
    def move(context, target, source):
        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(_BYTE, count)
            target, source = (builder.inttoptr(address, vector.as_pointer()) for address in arguments)
            value = builder.load(source, align=1)
            if mirrored:
                order = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count))[::-1])
                value = builder.shuffle_vector(value, ir.Constant(vector, ir.Undefined), order)
            builder.store(value, target, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return move


_copy_many = _moving(_MANY, mirrored=False)
_reverse_many, _reverse_one = _moving(_MANY, mirrored=True), _moving(1, mirrored=True)


@compiled(
    types.void(
        *(types.Array(types.int64, 1, "C", readonly=True), types.int64, types.int64),
        *(types.Array(types.int64, 2, "C", readonly=True), types.Array(types.uint8, 1, "C", readonly=True)),
        *(types.uint8[:, :, :, ::1], types.intp, types.intp, types.intp),
    )
)
def _cut(addresses, height, width, corners, flips, out, begin, end, base):
    """Frames begin to end, (channels, height, width) each, into out[begin - base : end - base]."""
    channels, rows, columns = out.shape[1], out.shape[2], out.shape[3]
    for frame in range(begin, end):
        target = out[frame - base].ctypes.data
        plane = addresses[frame] + corners[frame, 0] * width + corners[frame, 1]
        for _ in range(channels):
            if flips[frame]:
                for row in range(rows):
                    source = plane + row * width + columns
                    column = 0
                    while column + _MANY <= columns:
                        column += _MANY
                        _reverse_many(target + column - _MANY, source - column)
                    if columns >= _MANY:  # the rest along with some that are there already
                        _reverse_many(target + columns - _MANY, source - columns)
                    else:
                        while column < columns:
                            column += 1
                            _reverse_one(target + column - 1, source - column)
                    target += columns
            elif columns == width:
                _copy(target, plane, rows * columns)
                target += rows * columns
            elif _MANY <= columns < _SHORT:
                for row in range(rows):
                    source = plane + row * width
                    for column in range(0, columns - _MANY, _MANY):
                        _copy_many(target + column, source + column)
                    _copy_many(target + columns - _MANY, source + columns - _MANY)
                    target += columns
            else:
                for row in range(rows):
                    _copy(target, plane + row * width, columns)
                    target += columns
            plane += height * width


def cut(addresses: np.ndarray, shape: tuple[int, int, int], window: Window, out: np.ndarray, *, threads: int = 1) -> None:
    """Copy windows of frames.

    Args:
        addresses: of the first byte of each frame, (N,) int64; each frame is uint8 and contiguous, and stays where it is.
        shape: (C,H,W) of a frame.
        window: what to cut.
        out: uint8 (N,C,h,w), contiguous, h and w those of the window; is written.
        threads: how many may be used.
    """
    channels, height, width = shape
    addresses, window = np.ascontiguousarray(addresses, np.int64), window.fits(len(addresses), shape[1:])
    _check(out, np.uint8, (len(addresses), channels, *window.size))

    def part(begin: int, end: int) -> None:
        _cut(addresses, height, width, window.corners, window.flips, out, begin, end, 0)

    in_slabs(part, len(addresses), slab=_together(len(addresses), window.size, threads), threads=threads)


def cut_to_lab(addresses: np.ndarray, shape: tuple[int, int, int], window: Window, out: np.ndarray, *, threads: int = 1) -> None:
    """Windows of frames as Lab, or of grey frames as L*; arguments as `cut`, but for `out`, float32."""
    channels, height, width = shape
    addresses, window = np.ascontiguousarray(addresses, np.int64), window.fits(len(addresses), shape[1:])
    _check(out, np.float32, (len(addresses), channels, *window.size))
    convert: Callable[..., None] = lab_kernels.rgb_to_lab if channels == 3 else lab_kernels.grey_to_lightness
    together = _together(len(addresses), window.size, threads)

    def part(begin: int, end: int) -> None:
        buffer = _buffer((min(together, len(addresses)), channels, *window.size))[: end - begin]
        _cut(addresses, height, width, window.corners, window.flips, buffer, begin, end, begin)
        convert(buffer, out[begin:end])

    in_slabs(part, len(addresses), slab=together, threads=threads)


def _check(out: np.ndarray, kind: type, shape: tuple[int, ...]) -> None:
    if out.dtype != kind or out.shape != shape or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.dtype} {out.shape}, expected contiguous {np.dtype(kind)} {shape}")


def _together(count: int, size: tuple[int, int], threads: int) -> int:
    """Frames to a slab, so that each thread has one if there are that many."""
    pixels = min(_SLAB, max(_LEAST, -(-count // threads) * size[0] * size[1]))
    return max(1, pixels // (size[0] * size[1]))


_kept = threading.local()


def _buffer(shape: tuple[int, ...]) -> np.ndarray:
    """Bytes that belong to this thread until it asks again."""
    size = int(np.prod(shape))
    if getattr(_kept, "bytes", None) is None or _kept.bytes.size < size:
        _kept.bytes = np.empty(size, np.uint8)
    return _kept.bytes[:size].reshape(shape)
