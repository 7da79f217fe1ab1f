"""Points 7 and 8: the batch, over samples and over processes, and the reductions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as processes
from cases import CLASSES, LossCase, cases, full_mask, value_and_gradient
from forked import context
from torch import distributed

import medloss


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", cases(cell="reductions"), ids=str)
def test_mean_and_sum_are_those_of_none(case: LossCase, masked: bool) -> None:
    case = case.without("empty") if case.none == "region" else case.without("weight", "empty")
    tensors = case.inputs()
    keep = full_mask(case, tensors[0])
    if masked:
        keep[0], keep[1, ..., :3] = 0, 0  # one sample has no voxel at all
    arguments = (*tensors, keep) if masked else tensors
    none = case.make(reduction="none")(*arguments)
    torch.testing.assert_close(case.make(reduction="sum")(*arguments), none.sum())
    valid = valid_entries(case, none, keep) if masked else torch.ones_like(none)
    torch.testing.assert_close(case.make(reduction="mean")(*arguments), none.sum() / valid.sum())


def valid_entries(case: LossCase, none: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Which entries of ``none`` count under a mask."""
    if case.none == "interior" and case.accepts("stencil"):
        from medloss.ops.differences import interior_weight

        weight = interior_weight(keep, case.make().stencil, case.make().border)
        return (weight if none.ndim == keep.ndim else weight[:, 0]).expand_as(none)
    if case.none in ("region", "sample"):
        some = keep.flatten(1).sum(1) > 0
        return some.view(-1, *[1] * (none.ndim - 1)).expand_as(none) if len(none) == 2 else torch.ones_like(none)
    if case.none == "points":
        return keep
    return keep[:, 0] if case.none == "voxel" else keep.expand_as(none)


@pytest.mark.parametrize("case", cases(cell="none"), ids=str)
def test_none_has_the_shape_of_the_statistic(case: LossCase) -> None:
    tensors = case.inputs()
    batch, channels, *spatial = tensors[0].shape
    shape = tuple(case.make(reduction="none")(*tensors).shape)
    counted = channels - (not case.options.get("include_background", True))
    expected = {
        "region": (1 if case.options.get("batch") else batch, counted),
        "sample": (batch,),
        "voxel": (batch, *spatial),
        "element": (batch, counted, *spatial),
        "points": (batch, channels),
    }
    if case.none == "interior":
        assert shape[0] == batch
    else:
        assert shape == expected[case.none]


def test_a_compound_says_that_it_has_no_none() -> None:
    with pytest.raises(ValueError, match="reduction='none' is unknown"):
        medloss.DiceCELoss(softmax=True, reduction="none")


@pytest.mark.parametrize("case", cases(cell="batch"), ids=str)
def test_the_batch_relates_to_its_samples(case: LossCase) -> None:
    """The mean over a batch of equal sizes is the mean of the samples' values, but where sums join the samples."""
    tensors = case.inputs(batch=3)
    whole = case.make()(*tensors)
    each = torch.stack([case.make()(*[tensor[i : i + 1] for tensor in tensors]) for i in range(3)])
    if case.joined:
        assert not torch.allclose(whole, each.mean(), rtol=1e-6)
    else:
        torch.testing.assert_close(whole, each.mean())
    doubled = case.make()(*[torch.cat([tensor, tensor]) for tensor in tensors])
    torch.testing.assert_close(doubled, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "case", cases(cell="samples", when=lambda case: not case.joined or case.none != "region"), ids=str
)
def test_samples_do_not_mix(case: LossCase) -> None:
    """A sample's values with no reduction depend on that sample alone."""
    tensors = case.inputs(batch=3)
    none = case.make(reduction="none")
    whole = none(*tensors)
    for i in range(3):
        torch.testing.assert_close(whole[i : i + 1], none(*[tensor[i : i + 1] for tensor in tensors]))


def synchronised() -> list[LossCase]:
    """Each loss that can add up over processes, with the first of its options under which it does."""
    first = {case.name: case for case in reversed(cases("label", cell="processes"))}
    return [
        case.with_options(batch=True) if case.accepts("batch") else case
        for case in first.values()
        if case.accepts("process_group")
    ]


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", rank=rank, world_size=2, store=store)
    results = []
    for case in synchronised():
        tensors = case.inputs(batch=2)
        mine = slice(0, 1) if rank == 0 else slice(1, 2)
        results.append(value_and_gradient(case.make(process_group="world"), [tensor[mine] for tensor in tensors]))
    torch.save(results, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="gloo over a file store, and processes that are forked")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Value on each process, and gradient averaged over them, are those of one process on the joined batch."""
    context()  # torch and its like are imported once, for both
    processes.start_processes(_rank, args=(str(tmp_path),), nprocs=2, start_method="forkserver")
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    for case, first, second in zip(synchronised(), *ranks):
        value, gradient = value_and_gradient(case.make(), case.inputs(batch=2))
        torch.testing.assert_close(first[0], value)
        torch.testing.assert_close(second[0], value)
        # each process's gradient of its own sample, halved by the averaging of the two processes
        torch.testing.assert_close(torch.cat([first[1], second[1]]) / 2, gradient)


def test_an_absent_class_can_be_skipped() -> None:
    """With empty='skip' the mean runs over the classes that a sample has."""
    logits = torch.randn(1, CLASSES, 20)
    target = torch.tensor([0, 1] * 10).view(1, 1, 20)
    none = medloss.DiceLoss(softmax=True, to_onehot_y=True, reduction="none")(logits, target)
    skipped = medloss.DiceLoss(softmax=True, to_onehot_y=True, empty="skip")(logits, target)
    torch.testing.assert_close(skipped, none[:, :2].mean())
