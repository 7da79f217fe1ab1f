"""Every exported loss has a value that was worked out by hand: in its docstring, and in a test of this folder."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

from medloss.registry import losses

FOLDER = Path(__file__).parent
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("test_*.py"))}
HAND = re.compile(r"by_hand|by_its_definition|from_its_definition|that_of_numpy|is_voxelmorphs|is_pearsons")
"""In the name of a test whose expected value is a calculation in sight, or another implementation's."""

NAMED_OTHERWISE = {
    "DiceCELoss": ("test_values", "test_dice_ce_is_the_sum_of_its_parts_and_names_them"),
    "DiceFocalLoss": ("test_overlap_compounds", "test_compounds_are_the_sums_of_their_parts"),
    "GeneralizedDiceFocalLoss": ("test_overlap_compounds", "test_compounds_are_the_sums_of_their_parts"),
    "TverskyCELoss": ("test_overlap_compounds", "test_compounds_are_the_sums_of_their_parts"),
    "TverskyFocalLoss": ("test_overlap_compounds", "test_compounds_are_the_sums_of_their_parts"),
    "DiceTopKLoss": ("test_voxelwise_ranks", "test_dice_top_k_is_the_sum_of_its_parts"),
    "DuoLoss": ("test_morphology", "test_duo_is_half_of_each"),
    "SoftDiceclDiceLoss": ("test_morphology", "test_dice_cldice_and_its_limits"),
    "MaskedDiceLoss": ("test_parity_monai", "test_d3_monai_turns_masked_voxels_into_background"),
    "DivergenceLoss": ("test_field_values", "test_elasticity_of_an_affine_field"),
    "InverseConsistencyLoss": ("test_field_pairs", "test_what_two_affine_maps_leave"),
    "GradICONLoss": ("test_field_pairs", "test_what_two_affine_maps_leave"),
    "TLoss": ("test_t_loss", "test_by_hand"),
    "HyperelasticLoss": ("test_deformations", "test_hyperelasticity_of_a_stretch"),
    "RobustLoss": ("test_image", "test_the_family_of_barron"),
    **dict.fromkeys(
        ("CharbonnierLoss", "CauchyLoss", "GemanMcClureLoss", "WelschLoss", "L1Loss", "HuberLoss"),
        ("test_image", "test_penalties_by_hand"),
    ),
}
"""Values by hand in a test that says so in other words, or reads the names from a table of the file."""


def functions(source: str) -> dict[str, str]:
    """The tests of a file, by name."""
    parts = re.split(r"^(?=@pytest|def test_|@settings)", source, flags=re.M)
    found: dict[str, str] = {}
    pending = ""
    for part in parts:
        name = re.match(r"def (test_\w+)", part)
        pending += part
        if name:
            found[name[1]] = pending
            pending = ""
        elif not part.startswith("@"):
            pending = ""
    return found


TESTS = {stem: functions(source) for stem, source in SOURCES.items()}


@pytest.mark.parametrize("cls", losses().values(), ids=lambda cls: cls.__name__)
def test_a_value_by_hand_stands_in_a_test(cls: type) -> None:
    if cls.__name__ in NAMED_OTHERWISE:
        stem, name = NAMED_OTHERWISE[cls.__name__]
        source = TESTS[stem][name]
        assert cls.__name__ in SOURCES[stem]
        assert re.search(r"approx|close|==", source)
        return
    word = re.compile(rf"\b{cls.__name__}\b|\"{cls.__name__.removesuffix('Loss')}\"|\blncc\(")
    hand = [name for tests in TESTS.values() for name, text in tests.items() if HAND.search(name) and word.search(text)]
    assert hand, f"no test in {FOLDER.name}/ has a value of {cls.__name__} by hand: write one"


@pytest.mark.parametrize("cls", losses().values(), ids=lambda cls: cls.__name__)
def test_a_value_by_hand_stands_in_the_docstring(cls: type) -> None:
    examples = doctest.DocTestParser().get_examples(inspect.cleandoc(cls.__doc__ or ""))
    assert any(cls.__name__ in example.source for example in examples), "no example"
    assert any(re.search(r"\d|True", example.want) for example in examples), "an example without a value"


def test_the_list_names_nothing_that_is_gone() -> None:
    assert set(NAMED_OTHERWISE) <= {cls.__name__ for cls in losses().values()}
