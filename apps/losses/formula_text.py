"""Formulas in LaTeX as plain text for a terminal: a small conversion of what the docstrings of the losses use."""

from __future__ import annotations

import re

WORDS = {
    "cdot": "*", "in": "in", "le": "<=", "ne": "!=", "neq": "!=", "partial": "partial", "nabla": "grad",
    "prod": "product", "ell": "l", "dots": "...", "setminus": "without", "bigcup": "union", "forall": "for all",
    "lVert": "||", "rVert": "||", "langle": "<", "rangle": ">", "lfloor": "floor(", "rfloor": ")",
    "{": "{", "}": "}", ",": " ", " ": " ", "quad": "   ",
}  # fmt: skip
"""Commands that are not the word of their own name, as ``\\alpha`` and ``\\log`` are."""
SIZES = {"left", "right", *(f"{size}{side}" for size in ("big", "Big") for side in ("", "l", "r"))}
TEXTS = {"text", "operatorname", "mathrm"}
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.S)
ATOM = re.compile(r"-?\w+(\^\w+)?|\w+\([\w ,]*\)|\|[\w ]*\|")
"""What needs no brackets as a part of a fraction."""


def plain_formula(latex: str) -> str:
    r"""A formula as plain text; what stands after ``\qquad`` gets a line of its own.

    >>> print(plain_formula(r"L = 1 - \frac{2 I + nr}{S + T + dr}, \qquad I = \sum_i w_i p_{ic}^2"))
    L = 1 - (2 I + nr) / (S + T + dr),
    I = sum_i w_i p_ic^2
    """
    lines = re.split(r"\\qquad|(?<=,)\s*\\quad", " ".join(latex.split()))
    return "\n".join(_close(_Reader(line).text()) for line in lines if line.strip())


def _close(text: str) -> str:
    """One space between words, none within brackets and before a comma."""
    text = re.sub(r"\(\((\w+)\)\)", r"(\1)", " ".join(text.split()))
    return re.sub(r"(?<=\() | (?=[),;])", "", text)


class _Reader:
    """Reads the tokens of a formula from left to right."""

    def __init__(self, latex: str) -> None:
        self.tokens = TOKEN.findall(latex)
        self.at = 0

    def text(self, end: str | None = None) -> str:
        """All up to the token that ends it, which is taken too."""
        found = ""
        while self.at < len(self.tokens):
            token = self._next()
            if token == end:
                break
            found += self._told(token, found)
        return found

    def _next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def _told(self, token: str, before: str) -> str:
        if token in "_^":
            inner = self._argument()
            return token + (inner if re.fullmatch(r"\w+'?", inner) else f"({inner})")
        if token == "{":
            return self.text("}")
        if token == "&":
            return " if "
        if token == "\\\\":
            return "; "
        return self._command(token[1:], before) if token[0] == "\\" else token

    def _command(self, name: str, before: str) -> str:
        if name in SIZES:
            return ""
        if name in TEXTS:
            return self._argument()
        if name in ("frac", "tfrac"):
            return self._fraction(before)
        if name == "sqrt":
            return f"sqrt({self._argument()})"
        if name in ("begin", "end"):
            self._argument()
            return "{ " if name == "begin" else " }"
        return WORDS.get(name, name)

    def _argument(self) -> str:
        """The next group, or the next token where it is none."""
        while self.tokens[self.at].isspace():
            self.at += 1
        token = self._next()
        return " ".join((self.text("}") if token == "{" else self._told(token, "")).split())

    def _fraction(self, before: str) -> str:
        """A quotient, in brackets where a factor stands beside it."""
        parts = [self._argument(), self._argument()]
        above, below = (part if ATOM.fullmatch(part) else f"({part})" for part in parts)
        following = "".join(self.tokens[self.at : self.at + 5])
        following = re.sub(r"^(\s|\\(right|[bB]igr?)(?![a-z]))+", "", following)
        alone = re.search(r"(^|[=(\[{,+;]|[=(+,]\s*-|\s-)\s*$", before) and re.match(r"$|[-+=,)}\]&;|]", following)
        return f"{above} / {below}" if alone else f"({above} / {below})"
