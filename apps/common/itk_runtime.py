"""ITK, imported so that the interpreter can end."""

from __future__ import annotations

import ctypes
import functools
import sys
from types import ModuleType


@functools.cache
def import_itk() -> ModuleType:
    """The ``itk`` package, with the table of its wrapped types kept alive for good.

    The wrapping frees that table when Python takes its modules apart, at a time when the types of its objects may be
    gone already. The crash comes after the last line of the program, and turns a good run into a failed one.
    """
    import itk

    itk.Image  # noqa: B018  the first wrapped name loads the table
    for name, module in list(sys.modules.items()):
        if name.startswith("swig_runtime_data"):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(module.type_pointer_capsule))
    return itk
