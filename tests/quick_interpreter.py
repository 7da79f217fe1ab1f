"""Triton's interpreter patches Triton's language once for a kernel, and not again for each function that it calls."""

from __future__ import annotations

from typing import Any


def patch_once() -> None:
    """Functions that a kernel calls find the language patched: to look through it again took half of the time.

    Nothing is changed where this Triton's interpreter is made in another way.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    if not hasattr(interpreter, "_LangPatchScope") or interpreter._patch_lang.__module__ == __name__:
        return
    patch, patched = interpreter._patch_lang, set[str]()

    def once(function: Any) -> Any:
        names = {each.__name__ for each in function.__globals__.values() if each is tl or each is tl.core}
        if patched and names <= patched:
            return interpreter._LangPatchScope()
        scope, outermost = patch(function), not patched
        patched.update(names)
        if outermost:  # the only one that is restored, at the end of the kernel
            restore = scope.restore
            scope.restore = lambda: (patched.clear(), restore())
        return scope

    interpreter._patch_lang = once
