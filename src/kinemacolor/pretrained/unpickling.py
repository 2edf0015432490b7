"""Pickled numpy arrays, read without running anything that a pickle asks for.

A pickle is a program. This reader runs only its harmless instructions, and every name that it may import stands here for
an object of ours that records what it is told: no function of the file's choosing is ever called, and numpy itself sees
nothing but a checked type, a checked shape and bytes.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from kinemacolor.errors import UserError

_INSTRUCTIONS = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    )
)
_MEMO = 1 << 20  # a larger place in the memo would only be there to take up memory
_LEAVES = 10_000  # a list that holds itself ten times over is a bomb and no set of weights


class _Refused(Exception):
    """Why a pickle is not read."""


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read a pickle of nested dicts (or lists) of numeric arrays.

    Returns:
        The arrays by their path, such as `VGG16_0/Conv_0/kernel`.

    Raises:
        UserError: it holds anything else. Nothing that it asked for has been run.
    """
    try:
        with open(file, "rb") as stream:
            _inspect(stream)
            stream.seek(0)
            content = _Unpickler(stream).load()
        return {path: leaf.array() for path, leaf in _leaves(content, ())}
    except _Refused as refused:
        reason = str(refused)
    except OSError:
        raise
    except Exception as error:  # a broken pickle can fail in any way
        reason = f"it is broken: {type(error).__name__}"
    raise UserError(
        f"{file} is no pickle of plain arrays ({reason}): nothing in it was run; name a file that holds only weights."
    ) from None


def _inspect(stream: IO[bytes]) -> None:
    """Read the program without running it, and refuse what no set of weights needs."""
    try:
        for instruction, argument, _ in pickletools.genops(stream):
            if instruction.name == "GLOBAL":
                _stand_in(*argument.split(" ", 1))
            elif instruction.name not in _INSTRUCTIONS:
                raise _Refused(f"it uses the instruction {instruction.name}")
            elif instruction.name == "LONG_BINPUT" and argument > _MEMO:
                raise _Refused("its memo is too large")
    except ValueError as error:
        raise _Refused("it is broken") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _stand_in(module, name)

    def persistent_load(self, _: Any) -> Any:
        raise _Refused("it names things outside of itself")


class _Type:
    """Stands for numpy.dtype: a number of one, two, four or eight bytes."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not (isinstance(code, str) and re.fullmatch(r"[<>|=]?[fiub][1248]", code)):
            raise _Refused(f"it holds values of the type {code!r}"[:60])
        self._code, self._order = code.lstrip("<>|="), "<"

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=") and state[2:5] == (None,) * 3):
            raise _Refused("it holds values of an unusual type")
        self._order = state[1]

    def dtype(self) -> np.dtype:
        return np.dtype(self._order + self._code)


class _Array:
    """Stands for an array that numpy would rebuild."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise _Refused("it holds an unusual array")
        self._state = state[1:]

    def array(self) -> np.ndarray:
        if self._state is None:
            raise _Refused("it holds an empty array")
        shape, kind, fortran, data = self._state
        if not (isinstance(kind, _Type) and isinstance(data, bytes) and isinstance(fortran, bool | int)):
            raise _Refused("it holds an unusual array")
        if not (isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)):
            raise _Refused("it holds an array of an unusual shape")
        dtype = kind.dtype()
        if math.prod(shape) * dtype.itemsize != len(data):
            raise _Refused("an array's shape does not fit its bytes")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


class _Call:
    """A function of ours in the place of a foreign one. It takes no state, so that a pickle cannot alter it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise _Refused("it would alter a function")


def _latin(text: str, encoding: str) -> bytes:
    """How Python 2's protocol writes bytes."""
    if encoding != "latin1":
        raise _Refused("it holds text in an unusual encoding")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Call(lambda *_: _Array()),
    ("numpy._core.multiarray", "_reconstruct"): _Call(lambda *_: _Array()),
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _Call(_Type),
    ("collections", "OrderedDict"): _Call(lambda *pairs: dict(*pairs)),
    ("_codecs", "encode"): _Call(_latin),
}


def _stand_in(module: str, name: str) -> Any:
    if (module, name) not in _STAND_INS:
        raise _Refused(f"it asks for {module}.{name}"[:120])
    return _STAND_INS[module, name]


def _leaves(content: Any, path: tuple[str, ...], counted: list[int] | None = None) -> Iterator[tuple[str, _Array]]:
    """Arrays in nested dicts and lists, by path."""
    counted = [0] if counted is None else counted
    counted[0] += 1
    if counted[0] > _LEAVES or len(path) > 32:
        raise _Refused("it holds too much")
    if isinstance(content, _Array):
        yield "/".join(path), content
    elif isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                raise _Refused("it has keys that are no text")
            yield from _leaves(value, (*path, key), counted)
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _leaves(value, (*path, str(number)), counted)
    else:
        raise _Refused(f"it holds a value of the type {type(content).__name__.lstrip('_')}")
