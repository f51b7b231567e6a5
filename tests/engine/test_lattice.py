"""Windows of one size that part any area with every halo, none larger than asked for."""

import random

import pytest

from geodl_qgis_plugin.engine.classification.lattice import lattice
from geodl_qgis_plugin.engine.classification.prediction import up_to_multiple
from geodl_qgis_plugin.engine.rasters.grid import Window


@pytest.mark.parametrize("seed", range(20))
def test_cores_part_the_area_and_see_their_halo(seed):
    """Random areas of random rasters: cores follow one another, and a window reaches a halo beyond its core or to the edge."""
    generator = random.Random(seed)
    for _ in range(40):
        height, width = generator.randint(1, 3000), generator.randint(1, 3000)
        stride, halo = generator.choice([1, 2, 4, 8, 16]), generator.randint(0, 120)
        most = generator.choice([40_000, 100_000, 600_000, 1_000_000])
        row, column = generator.randrange(height), generator.randrange(width)
        area = Window(row, column, generator.randint(1, height - row), generator.randint(1, width - column))
        down, across = lattice(area, height, width, halo, stride, most)
        for side, start, length, limit in (
            (down, area.row, area.height, height),
            (across, area.column, area.width, width),
        ):
            end = up_to_multiple(limit, stride)
            assert side.cores[0][0] == start
            assert side.cores[-1][1] == start + length
            assert all(one[1] == next_one[0] for one, next_one in zip(side.cores, side.cores[1:]))
            assert side.length % stride == 0
            for begin, (first, last) in zip(side.starts, side.cores):
                assert first < last
                assert begin % stride == 0
                assert 0 <= begin <= max(first - halo, 0)
                assert min(last + halo, end) <= begin + side.length <= end
        smallest = up_to_multiple(2 * halo, stride) + stride
        assert down.length * across.length <= max(most, smallest * max(down.length, across.length))


def test_little_is_read_twice():
    """Of a large raster windows of 500,000 pixels with a halo of 43 read some more than there is; one window nothing."""
    down, across = lattice(Window(0, 0, 4096, 8192), 4096, 8192, 43, 8, 500_000)
    read = len(down.starts) * len(across.starts) * down.length * across.length
    assert read / (4096 * 8192) < 1.3
    down, across = lattice(Window(0, 0, 700, 500), 700, 500, 43, 8, 500_000)
    assert (down.length, across.length) == (704, 504)
    assert len(down.starts) == len(across.starts) == 1
