"""``components`` on the GPU: union and find by all voxels at once, then numbers in the order of the roots.

A voxel's parent is a voxel of the same component and of a lower index, or the voxel itself, the root. Indices are those
within a volume, and parents lie where the numbers will be. Four launches follow each other:

1. ``start`` makes the runs along the last axis: a voxel's parent is the first of its run in the tile; where a tile cuts
   a run, it is the voxel before the tile.
2. ``join`` has a pair of voxels for each neighbour in a row before. It walks from both to their roots and makes the
   lower root the parent of the higher one, by ``atomic_min``, until both have the same.
3. ``settle`` makes the root the parent of all, and counts the roots of each tile.
4. ``number`` gives each root its number, and everyone that of the root.

Why ``join`` is right although walks read what others are changing. Think of a graph whose edges are the links from
voxels to their parents and the pairs that programs have yet to join. Its connected components are those of the mask to
begin with, and no step changes them:

* All parents that a voxel v ever had, itself left out, stay connected by edges among voxels below v (+). So a walker
  may go on from any of them, however old the one that it has read, and whoever writes one of them, or a parent of one,
  in place of another (as walkers do, who leave shorter ways behind them) cuts nothing off.
* ``atomic_min`` at a root puts a link in the place of the pair. Where it finds that the voxel already has a parent,
  the lower one of the two stays, and the program goes on with the pair of both, which keeps all three together, and
  (+), as both are below the voxel.

Links go down, so there is no circle, each component ends up as one tree when no pair is left, and the tree's root is
its lowest voxel. Walks end as indices fall; the higher voxel of a pair is lower with every ``atomic_min`` of a program,
so no program waits for another, and old values, as caches hold them, cost a step and nothing else. Entries have 64
bits, which are written in one piece.
"""

from __future__ import annotations

import triton
import triton.language as tl

VARYING = ["voxels", "tiles", "height", "width", "connectivity"]
"""None is worth a kernel of its own: walks lead anywhere, and no loads are wider where a shape is even."""


@triton.jit
def tile(tiles, voxels, TILE: tl.constexpr):
    """The voxels of a program within their volume, whether there are such, and where the volume and its tiles begin."""
    volume = (tl.program_id(0) // tiles).to(tl.int64)
    v = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)
    return v, v < voxels, volume * voxels, volume * tiles


@triton.jit
def there(mask, v, asked):
    """Whether the voxels that are asked for lie in the mask."""
    return tl.load(mask + v, asked, 0) != 0


@triton.jit
def some(asked):
    """Whether any is asked for."""
    return tl.max(asked.to(tl.int32), 0) > 0


@triton.jit
def later(a, b):
    """What a scan for the last of marked voxels combines by."""
    return tl.maximum(a, b)


@triton.jit
def root(parents, v, asked, SHORTEN: tl.constexpr):
    """The roots above voxels; a root's own entry is itself, or negative once it is settled.

    SHORTEN leaves the parent's parent with all that are passed; not so where others write what is final.
    """
    up = tl.load(parents + v, asked, v)
    moving = (up >= 0) & (up != v)
    while some(moving):
        beyond = tl.load(parents + up, moving, up)
        further = moving & (beyond >= 0) & (beyond != up)
        if SHORTEN:
            tl.store(parents + v, beyond, further)
        v = tl.where(moving, up, v)
        up = tl.where(moving, beyond, up)
        moving = further
    return v


@triton.jit(do_not_specialize=["tiles"])
def start(mask, parents, voxels, tiles, width, TILE: tl.constexpr):
    """The first voxel of the run, as far as the tile goes."""
    v, inside, begin, _ = tile(tiles, voxels, TILE)
    here = there(mask + begin, v, inside)
    goes_on = here & there(mask + begin, v - 1, here & (v % width > 0))
    cut = goes_on & (tl.arange(0, TILE) == 0)
    first = tl.associative_scan(tl.where(goes_on & (cut == 0), 0, v), 0, later)
    tl.store(parents + begin + v, tl.where(cut, v - 1, first).to(tl.int64), inside)


@triton.jit
def unjoined(mask, v, here, x, y, z, dx, dy, dz, height, width):
    """Which voxels have a neighbour at this step to whom no other pairs lead: run by run, or by fewer axes."""
    u = v + (dx * height + dy) * width + dz
    seen = here & (x + dx >= 0) & (y + dy >= 0) & (y + dy < height) & (z + dz >= 0) & (z + dz < width)
    pair = seen & there(mask, u, seen)
    if dz == 0:
        before = pair & (z > 0)
        led = there(mask, v - 1, before) & there(mask, u - 1, before)
    else:
        led = there(mask, v + dz, pair) | there(mask, u - dz, pair)
    return u, pair & (led == 0)


@triton.jit
def unite(parents, a, b, asked):
    """Join the trees of pairs of voxels."""
    while some(asked):
        a, b = root(parents, a, asked, True), root(parents, b, asked, True)
        asked = asked & (a != b)
        high, low = tl.maximum(a, b), tl.minimum(a, b)
        old = tl.atomic_min(parents + high, low, asked, sem="relaxed")
        asked = asked & (old != high)
        a, b = tl.where(asked, old, a), low


@triton.jit(do_not_specialize=VARYING)
def join(
    mask, parents, voxels, tiles, height, width, connectivity, STEPS: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """Every voxel with its neighbours in the rows before its own, of which there are STEPS."""
    v, inside, begin, _ = tile(tiles, voxels, TILE)
    mask += begin
    here = there(mask, v, inside)
    if some(here):
        x, y, z = v // width // height, v // width % height, v % width
        for step in range(12 - STEPS, 12):  # in the order of indices; the next is the voxel before, of the same run
            dx, dy, dz = step // 9 - 1, step // 3 % 3 - 1, step % 3 - 1
            if dx * dx + dy * dy + dz * dz <= connectivity:
                u, asked = unjoined(mask, v, here, x, y, z, dx, dy, dz, height, width)
                unite(parents + begin, v.to(tl.int64), u.to(tl.int64), asked)


@triton.jit(do_not_specialize=VARYING)
def settle(mask, parents, counts, voxels, tiles, TILE: tl.constexpr):
    """Roots, and of these, negative, which of their tile they are; and how many a tile has.

    Walkers that come later find the root at once, and know a root that is settled by its sign.
    """
    v, inside, begin, _ = tile(tiles, voxels, TILE)
    here = there(mask + begin, v, inside)
    own = v.to(tl.int64)
    above = root(parents + begin, own, here, False)
    roots = (here & (above == own)).to(tl.int64)
    tl.store(parents + begin + v, tl.where(roots > 0, -tl.cumsum(roots, 0), above), here)
    tl.store(counts + tl.program_id(0), tl.sum(roots, 0))


@triton.jit(do_not_specialize=["tiles"])
def number(mask, parents, before, voxels, tiles, TILE: tl.constexpr):
    """The numbers, in place: a root's entry is its place in its tile, or, once its program was there, its number."""
    v, inside, begin, first_tile = tile(tiles, voxels, TILE)
    here = there(mask + begin, v, inside)
    own = tl.load(parents + begin + v, here, 0)
    other = here & (own >= 0)
    place = tl.load(parents + begin + own, other, own)
    owner = tl.where(other, own, v) // TILE
    found = tl.where(place > 0, place, tl.load(before + first_tile + owner, here & (place < 0), 0) - place)
    tl.store(parents + begin + v, tl.where(here, found, 0), inside)
