"""What large volumes and many classes cost: logits by slabs, no one-hot in training, volumes kept on disk."""

from __future__ import annotations

import os
import weakref

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch.utils._python_dispatch import TorchDispatchMode

from medloss.apps.segmentation.classes import Classes
from medloss.apps.segmentation.grid import Grid
from medloss.apps.segmentation.inference import Windows, held_bytes, scorer, segment
from medloss.apps.segmentation.losses import Facts, complete_losses
from medloss.apps.segmentation.overlap import region_dice
from medloss.apps.segmentation.terms import loss_terms
from medloss.config import build_loss

MANY = 42


class Largest(TorchDispatchMode):
    """The bytes of the tensors that are alive, by their storage, and the most there ever were."""

    def __init__(self):
        super().__init__()
        self.alive, self.most = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.alive:
                    self.alive[key] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, key, None)
        self.most = max(self.most, sum(self.alive.values()))
        return result


@pytest.mark.parametrize("shape", [(20, 17, 33), (6, 40, 12)])
def test_stitching_equals_monais(shape):
    torch.manual_seed(0)
    network, image = torch.nn.Conv3d(1, 3, 3, padding=1), torch.randn(1, *shape)
    with torch.no_grad():
        inferer = SlidingWindowInferer((8, 12, 16), sw_batch_size=2, overlap=0.5, mode="gaussian")
        expected = inferer(image[None], network)
    windows = Windows(scorer([network]), (8, 12, 16), 0.5, 2)
    for axis in range(3):
        found = torch.stack(list(windows.planes(image, axis)), 1 + axis)
        torch.testing.assert_close(found, expected[0], atol=2e-6, rtol=1e-5)


def test_networks_and_mirrored_copies_are_averaged():
    torch.manual_seed(0)
    networks, image = [torch.nn.Conv3d(1, 2, 3) for _ in range(2)], torch.randn(1, 1, 6, 6, 6)
    with torch.no_grad():
        copies = [network(image.flip(dims)).flip(dims) for network in networks for dims in ([], [2], [4], [2, 4])]
        torch.testing.assert_close(scorer(networks, (0, 2))(image), torch.stack(copies).mean(0))


def test_the_peak_grows_by_slabs_and_not_by_the_volume():
    """42 classes, volumes of 24 x 24 x length: what is held does not depend on the length."""

    def peak(length):
        def score(windows):
            return windows.expand(-1, MANY, -1, -1, -1)

        classes = Classes.from_mapping({f"c{each}": each for each in range(1, MANY)})
        grid = Grid.of((24, 24, length), np.eye(4), (1, 1, 1.25))
        image = torch.zeros(1, *grid.shape)
        with Largest() as seen:
            segment(Windows(score, (16, 16, 16)), image, grid, classes)
        return seen.most

    short, long = peak(64), peak(256)
    held, whole = held_bytes((24, 24, 256), (16, 16, 16), MANY), 4 * MANY * 24 * 24 * 256
    assert held == 4 * MANY * 24 * 24 * 16
    added = (256 - 64) * 24 * 24
    assert long - short < 8 * added  # the image, its padding and the mask; the logits would be 168 bytes a voxel
    assert long < 2.5 * held < whole / 4


class NoOneHot(TorchDispatchMode):
    """Lists the tensors that are made with a channel for each class."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.made = torch.Size(shape), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.shape == self.shape:
                self.made.append((str(func), tensor.dtype))
        return result


@pytest.mark.parametrize("loss", ["dice", "dice_ce", "dice_focal", "cross_entropy", "tversky", "generalized_dice"])
def test_no_one_hot_is_made_at_42_classes(loss):
    """One forward and backward of the loss: the only tensor of that size is the gradient of the logits."""
    classes = Classes.from_mapping({f"c{each}": each for each in range(1, MANY)})
    mapping = complete_losses({loss: {}}, Facts(channels=MANY))
    made = build_loss(mapping, kind="label")
    logits = torch.randn(2, MANY, 8, 8, 8, requires_grad=True)
    batch = {"label": torch.randint(0, MANY, (2, 1, 8, 8, 8), dtype=torch.uint8)}
    with NoOneHot(logits.shape) as seen:
        terms = loss_terms(made, classes, logits, batch)
        sum(term.value for term in terms.values()).backward()
    integers = [entry for entry in seen.made if not entry[1].is_floating_point]
    assert not integers
    assert len(seen.made) <= 2, seen.made


def test_dice_of_many_classes_by_one_count_of_pairs():
    from monai.metrics import compute_dice

    torch.manual_seed(0)
    first, second = (torch.randint(0, 4, (6, 7, 8)) for _ in range(2))
    second[second == 3] = 0
    classes = Classes.from_mapping({"a": 1, "b": 2, "c": 3})
    expected = compute_dice(first[None, None], second[None, None], include_background=False, num_classes=4)[0]
    found = region_dice(first, second, classes)
    np.testing.assert_allclose(found[:2], expected[:2].numpy(), rtol=1e-6)
    assert found[2] == 0  # found and not there
    regions = Classes.from_mapping({"all": [1, 2, 3], "c": 3})
    both, either = ((first > 0) & (second > 0)).sum(), (first > 0).sum() + (second > 0).sum()
    assert region_dice(first, second, regions)[0] == pytest.approx(2 * float(both) / float(either))


def test_volumes_are_kept_on_disk_and_made_anew_of_other_files(settings, dataset, tmp_path, monkeypatch):
    from medloss.apps.segmentation import volumes
    from medloss.apps.segmentation.data import build_loaders, prepare

    reads = []
    once = volumes.read_scan
    monkeypatch.setattr(volumes, "read_scan", lambda *given: reads.append(given) or once(*given))
    prepared = prepare(settings(**{"data.cache_folder": tmp_path / "cache", "train.augment": "none"}))
    plain = build_loaders(prepare(settings(**{"train.augment": "none"})))[1]
    reads.clear()
    for _ in range(2):
        valid = build_loaders(prepared)[1]
        torch.testing.assert_close(next(iter(valid))["image"].as_tensor(), next(iter(plain))["image"].as_tensor())
    assert len(reads) == 1 and len(list((tmp_path / "cache").glob("*.pt"))) == 1
    os.utime(dataset / "images" / "case_10.nii.gz", (1, 1))
    next(iter(build_loaders(prepared)[1]))
    assert len(reads) == 2


def test_memory_is_counted():
    from medloss.apps.common.memory import peak_bytes

    block = np.ones(1 << 20)
    assert peak_bytes() > block.nbytes
