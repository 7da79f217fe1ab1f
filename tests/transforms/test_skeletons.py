"""SkeletonMap: thinning keeps the topology, every kind of array, and the loss that takes it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import binary_dilation, gaussian_filter, generate_binary_structure, label

import medloss
from medloss.transforms import SkeletonMap, SkeletonMapd
from medloss.transforms.thinning import neighbours, simple, thinned

BAR = [[[0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 2, 2, 2], [0] * 7]]
LINE = [[[0] * 7, [0] * 7, [1, 1, 1, 1, 2, 2, 0], [0] * 7, [0] * 7]]


def euler(region: np.ndarray) -> int:
    """The Euler characteristic of the union of closed voxels: vertices less edges plus faces less cells."""
    padded, total = np.pad(region, 1), 0
    for axes in itertools.product((False, True), repeat=region.ndim):
        cells = padded
        for axis, shared in enumerate(axes):  # a vertex is of every voxel beside it, a cell of its own alone
            if shared:
                cells = cells | np.roll(cells, 1, axis)
        total += (-1) ** (region.ndim - sum(axes)) * int(cells.sum())
    return total


def parts(region: np.ndarray) -> int:
    return label(region, np.ones((3,) * region.ndim))[1]


def topology(region: np.ndarray) -> tuple[int, int, int]:
    """Parts that touch by corners, parts of the outside that touch by faces, and the Euler characteristic."""
    return parts(region), label(~np.pad(region, 1))[1], euler(region)


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > 0.3 * noise.std()


def test_the_euler_characteristic_of_the_tests():
    assert euler(np.ones((3, 3, 3), bool)) == 1
    ring = np.ones((3, 3, 1), bool)
    ring[1, 1] = False
    assert euler(ring) == 0
    shell = np.ones((3, 3, 3), bool)
    shell[1, 1, 1] = False
    assert euler(shell) == 2


@pytest.mark.parametrize("shape", [(40, 41), (18, 19, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_thinning_keeps_the_topology(shape, seed):
    region = blobs(shape, seed)
    line = thinned(torch.from_numpy(region))
    assert not (line.numpy() & ~region).any()
    assert topology(line.numpy()) == topology(region)
    assert line.sum() < 0.3 * region.sum()
    assert torch.equal(thinned(line), line)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_voxel_is_simple_where_its_removal_keeps_the_topology(axes):
    """Of a neighbourhood alone: the parts and the Euler characteristic stay, and it does not become a cavity."""
    generator = np.random.default_rng(0)
    centre, offsets = (1,) * axes, neighbours(axes).offsets.numpy() + 1
    faces = neighbours(axes).faces.numpy()
    found, expected = [], []
    for density in generator.uniform(0.05, 0.95, 400):
        region = generator.random((3,) * axes) < density
        nearby = region[tuple(offsets.T)]
        found.append(bool(simple(torch.from_numpy(nearby)[None], axes)))
        region[centre] = True
        before = parts(region), euler(region)
        region[centre] = False
        expected.append((parts(region), euler(region)) == before and not nearby[faces].all())
    assert found == expected
    assert 50 < sum(found) < 350


def test_the_line_of_a_tube_is_its_axis():
    z, y, x = torch.meshgrid(torch.arange(21), torch.arange(21), torch.arange(40), indexing="ij")
    tube = ((z - 10) ** 2 + (y - 10) ** 2 < 25) & (x > 4) & (x < 35)
    line = thinned(tube)
    assert line[10, 10].sum() == line.sum() >= 20
    ring = (((y - 10.0) ** 2 + (x - 20.0) ** 2).sqrt() - 7) ** 2 + (z - 10) ** 2 < 9
    line = thinned(ring)
    assert euler(line.numpy()) == 0
    assert line.sum() < 2 * 3.15 * 7  # about the length of the circle


def test_lines_and_points_stay():
    region = torch.eye(9, dtype=torch.bool)
    region[0, 3:8], region[3:8, 0], region[5, 8] = True, True, True
    assert torch.equal(thinned(region), region)
    assert not thinned(torch.zeros(3, 4, 5)).any()
    assert thinned(torch.ones(3, 3, 3)).sum() <= 2


@pytest.mark.parametrize(
    "make",
    [np.array, torch.tensor, lambda x: np.array(x, dtype=">i2"), lambda x: torch.tensor(x, dtype=torch.float32)],
)
def test_every_kind_by_hand(make):
    label = make(BAR)
    found = SkeletonMap(radius=0)(label)
    assert type(found) is type(label)
    assert found.tolist() == LINE
    assert label.tolist() == BAR
    assert SkeletonMap(radius=1, tube="box")(label).tolist() == BAR  # a tube leaves the region nowhere
    corners = [[BAR[0][0], [1, 1, 1, 1, 2, 2, 0], BAR[0][2], [1, 1, 1, 1, 2, 2, 0], BAR[0][4]]]
    assert SkeletonMap(radius=1)(label).tolist() == corners  # two steps from the end of the line
    assert SkeletonMap()(label).tolist() == BAR


@pytest.mark.parametrize("axes", [2, 3])
def test_a_tube_by_a_cross_is_the_dilation_of_scipy_once_for_each_step(axes):
    region = blobs((16,) * axes, 0)
    line = thinned(torch.from_numpy(region)).numpy()
    for tube, neighbourhood in (("cross", generate_binary_structure(axes, 1)), ("box", np.ones((3,) * axes))):
        wide = binary_dilation(line, neighbourhood, iterations=2) & region
        assert SkeletonMap(tube=tube)(region[None].astype(np.uint8))[0].tolist() == wide.astype(int).tolist()
        assert SkeletonMapd("x", radius=2, tube=tube)({"x": region[None]})["skeleton"][0].tolist() == wide.tolist()


def test_metatensor_and_channels():
    affine = torch.diag(torch.tensor([1.0, 2.0, 1.0, 1.0]))
    found = SkeletonMap(radius=0)(MetaTensor(torch.tensor(BAR, dtype=torch.uint8), affine=affine))
    assert isinstance(found, MetaTensor)
    assert torch.equal(found.affine, affine.double())
    assert found.dtype == torch.uint8
    one, two = torch.tensor(BAR)[0] == 1, torch.tensor(BAR)[0] == 2
    both = SkeletonMap(radius=0)(torch.stack([one, two]))
    for channel, region in zip(both, (one, two), strict=True):  # each a region of its own
        assert torch.equal(channel, thinned(region))


def test_dictionary():
    data = {"label": torch.tensor(BAR), "image": torch.ones(2)}
    found = SkeletonMapd("label", radius=0)(data)
    assert found["skeleton"].tolist() == LINE
    assert found["label"] is data["label"]
    assert set(data) == {"label", "image"}
    with pytest.raises(ValueError, match=r"key 'label': labels must be whole numbers, but 0.5 is among them"):
        SkeletonMapd("label")({"label": torch.full((1, 2, 2), 0.5)})
    with pytest.raises(ValueError, match="skeleton_keys must name one"):
        SkeletonMapd(["a", "b"])
    for radius in (-1, 1.5):
        with pytest.raises(ValueError, match=r"radius=.* must be a number of voxels"):
            SkeletonMap(radius)
    with pytest.raises(ValueError, match="tube='ball' is unknown: choose one of 'cross', 'box'"):
        SkeletonMapd("label", tube="ball")


def test_the_loss_takes_it():
    """A prediction of the line alone has found all of the skeleton; without half of it, half is missed."""
    target = torch.tensor(BAR)
    loss = medloss.SkeletonRecallLoss(to_onehot_y=True, include_background=False, reduction="none")
    line = torch.tensor(LINE)
    probabilities = torch.nn.functional.one_hot(line, 3).movedim(-1, 1).float()
    skeleton = SkeletonMap(radius=0)(target)
    torch.testing.assert_close(loss(probabilities, target[None], skeleton=skeleton[None]), torch.zeros(1, 2))
    probabilities[..., :2] = 0
    found = loss(probabilities, target[None], skeleton=skeleton[None])
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.0]]))
