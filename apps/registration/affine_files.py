"""Affine transforms in ITK's text files (``.tfm``, ``.txt``) and ANTs' binary ``.mat``, and ITK's names of transforms.

ITK says a linear transform by parameters and a centre ``c``, in LPS mm: ``y = M (x - c) + c + t``. Here it is a 4 x 4
in RAS mm.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat, savemat
from scipy.spatial.transform import Rotation

from medloss.apps.common.errors import UserError
from medloss.apps.common.itk_files import LPS
from medloss.apps.registration.spatial import Affine, Chain, Transform

WRITTEN = "AffineTransform_double_3_3"
HEAD = "#Insight Transform File V1.0"
COMPOSITE = "CompositeTransform"


class Stored(NamedTuple):
    """One transform of a file: ITK's name of its class with precision and dimensions, and two lists of numbers."""

    kind: str
    parameters: np.ndarray
    fixed: np.ndarray

    @property
    def name(self) -> str:
        return self.kind.split("_")[0]


def _euler(numbers: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    x, y, z = (Rotation.from_euler(axis, angle).as_matrix() for axis, angle in zip("xyz", numbers))
    return z @ y @ x if len(fixed) > 3 and fixed[3] else z @ x @ y


def _versor(numbers: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    scalar = np.sqrt(max(0.0, 1.0 - float(numbers[:3] @ numbers[:3])))
    return Rotation.from_quat([*numbers[:3], scalar]).as_matrix()


LINEAR: dict[str, tuple[int, int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "AffineTransform": (12, 9, lambda numbers, fixed: numbers[:9].reshape(3, 3)),
    "MatrixOffsetTransformBase": (12, 9, lambda numbers, fixed: numbers[:9].reshape(3, 3)),
    "Rigid3DTransform": (12, 9, lambda numbers, fixed: numbers[:9].reshape(3, 3)),
    "Euler3DTransform": (6, 3, _euler),
    "VersorRigid3DTransform": (6, 3, _versor),
    "VersorTransform": (3, 3, _versor),
    "Similarity3DTransform": (7, 3, lambda numbers, fixed: numbers[6] * _versor(numbers, fixed)),
    "QuaternionRigidTransform": (7, 4, lambda numbers, fixed: Rotation.from_quat(numbers[:4]).as_matrix()),
    "TranslationTransform": (3, 0, lambda numbers, fixed: np.eye(3)),
    "ScaleTransform": (3, 3, lambda numbers, fixed: np.diag(numbers)),
    "IdentityTransform": (0, 0, lambda numbers, fixed: np.eye(3)),
}
"""ITK's linear transforms: how many parameters, where the translation begins among them, and the matrix of them."""


def linear(stored: Stored, path: Path) -> Affine:
    """The map of one of ITK's linear transforms.

    Raises:
        UserError: another transform, a wrong number of parameters, or a matrix that cannot be inverted.
    """
    if stored.name not in LINEAR or not stored.kind.endswith("_3_3"):
        raise UserError(
            f"{path} holds a {stored.kind}, expected a displacement field or one of {', '.join(LINEAR)} in 3D; "
            "write it as a displacement field with the program that made it"
        )
    count, begin, matrix_of = LINEAR[stored.name]
    # a quaternion of a file may have lost its length to rounding, but its count says what it is
    if len(stored.parameters) != count or not np.isfinite(stored.parameters).all():
        raise UserError(f"{path}: a {stored.name} has {count} finite parameters, got {len(stored.parameters)}")
    matrix = matrix_of(stored.parameters, stored.fixed)
    shift = stored.parameters[begin : begin + 3] if count > begin else np.zeros(3)
    centre = stored.fixed[:3] if len(stored.fixed) >= 3 else np.zeros(3)
    full = np.eye(4)
    full[:3, :3], full[:3, 3] = matrix, shift + centre - matrix @ centre
    if not np.isfinite(full).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise UserError(f"{path}: its matrix cannot be inverted, so it maps the volume into a plane; is it damaged?")
    return Affine(LPS @ full @ LPS)


def stored_affine(transform: Affine) -> Stored:
    """As ITK stores it."""
    full = LPS @ transform.matrix @ LPS
    return Stored(WRITTEN, np.concatenate([full[:3, :3].ravel(), full[:3, 3]]), np.zeros(3))


def joined(parts: list[Stored], path: Path, single: Callable[[Stored, Path], Transform]) -> Transform:
    """The transforms of a file. In ITK's composite the last one comes first.

    Raises:
        UserError: none, or several without a composite that says how they belong together.
    """
    if parts and parts[0].name == COMPOSITE and len(parts) > 1:
        return Chain([single(part, path) for part in reversed(parts[1:])])
    if len(parts) != 1 or parts[0].name == COMPOSITE:
        raise UserError(
            f"{path} holds {len(parts)} transforms, expected one, or ITK's composite of several; "
            "write each into a file of its own and give them in order"
        )
    return single(parts[0], path)


def read_text(path: Path) -> Transform:
    """ITK's text file."""
    parts: list[Stored] = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or not lines[0].startswith("#Insight Transform File"):
        raise UserError(f"{path} is no ITK transform file: it does not begin with {HEAD!r}")
    try:
        for line in lines:
            key, _, rest = line.partition(":")
            if key == "Transform":
                parts.append(Stored(rest.strip(), np.empty(0), np.empty(0)))
            elif key in ("Parameters", "FixedParameters"):
                numbers = np.array(rest.split(), np.float64)
                kind, parameters, fixed = parts[-1]
                parts[-1] = Stored(kind, numbers, fixed) if key == "Parameters" else Stored(kind, parameters, numbers)
    except (ValueError, IndexError) as fault:
        raise UserError(f"{path} cannot be read as an ITK transform file ({fault})") from fault
    return joined(parts, path, linear)


def write_text(path: Path, transform: Affine) -> None:
    """ITK's text file, with every digit."""
    kind, parameters, fixed = stored_affine(transform)
    numbers = [" ".join(repr(float(value)) for value in each) for each in (parameters, fixed)]
    lines = [HEAD, "#Transform 0", f"Transform: {kind}", f"Parameters: {numbers[0]}", f"FixedParameters: {numbers[1]}"]
    path.write_text("\n".join([*lines, ""]), encoding="ascii")


def read_mat(path: Path) -> Transform:
    """ANTs' binary file: a MATLAB file of version 4 with one variable named after ITK's class, and ``fixed``."""
    try:
        content = loadmat(path)
    except Exception as fault:  # scipy raises almost anything at a file that is none
        raise UserError(
            f"{path} is no binary .mat of ITK or ANTs ({fault}); a text matrix of FLIRT is not in world coordinates: "
            "convert it with c3d_affine_tool -ras2itk"
        ) from fault
    names = [name for name in content if "Transform" in name]
    if len(names) != 1:
        listed = ", ".join(name for name in content if not name.startswith("__")) or "none"
        raise UserError(f"{path}: expected one variable named after an ITK transform, got {listed}")
    numbers = [np.asarray(content[key], np.float64).ravel() if key in content else np.empty(0)
               for key in (names[0], "fixed")]  # fmt: skip
    return linear(Stored(names[0], *numbers), path)


def write_mat(path: Path, transform: Affine) -> None:
    """As ANTs reads it."""
    kind, parameters, fixed = stored_affine(transform)
    with path.open("wb") as stream:
        savemat(stream, {kind: parameters[:, None], "fixed": fixed[:, None]}, format="4")
