"""Networks: what they see, that windows give the map of one pass, and that turning a tile turns what is derived of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_qgis_plugin.engine.bands import Band
from geodl_qgis_plugin.engine.classification.augmentation import (
    ALL,
    NONE,
    Symmetry,
    allowed_symmetries,
    turn,
    turn_tile,
)
from geodl_qgis_plugin.engine.classification.networks import Architecture, choose_architecture
from geodl_qgis_plugin.engine.classification.networks.fused import FusedConvolution
from geodl_qgis_plugin.engine.classification.networks.intake import DIRECTIONS, Intake, horizons, sight_steps
from geodl_qgis_plugin.engine.classification.prediction import (
    padded,
    probabilities_of,
    reading_of,
    readings,
    ready_for_maps,
    receptive_halo_px,
    up_to_multiple,
)
from geodl_qgis_plugin.engine.errors import ModelFileError, SettingsError
from geodl_qgis_plugin.engine.rasters.grid import Window

from .models import unsettled

torch.set_num_threads(1)  # the nets here are small: a second thread costs more than it brings

DEM, SLOPE = Band("dem", "m"), Band("slope", "degree")
UNETS = {
    "high-passes and horizons": Architecture("unet", 2, 4, [1], [0], [2, 5], [3, 7], {"widths": [4, 6, 8]}),
    "default": choose_architecture("automatic", "each pixel", [DEM, SLOPE], 4, 64, {"widths": [4, 4, 6, 6]}),
    "values as they are": Architecture("unet", 2, 4, [0, 1], numbers={"widths": [4, 6]}),
    "deep": Architecture("unet", 2, 4, [0, 1], numbers={"widths": [3, 3, 4, 4, 5]}),
}


def network(architecture, seed=0):
    """Return a net whose weights and batch norms are those of no fresh net, ready for maps."""
    return ready_for_maps(unsettled(architecture, architecture.bands, seed))


def raster(height, width, seed=0, holes=True):
    """Return two bands of rough ground, with holes of nodata."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 4, (2, height, width)).cumsum(axis=1).cumsum(axis=2).astype(np.float32) / 10
    if holes:
        for _ in range(3):
            row, column = random.integers(0, height), random.integers(0, width)
            values[random.integers(2), row : row + 9, column : column + 7] = np.nan
    return values


def in_windows(net, values, core, halo):
    height, width = values.shape[1:]
    result = None
    for reading in readings(height, width, core, halo, net.stride):
        inside = reading.outer.grown(0, height, width)
        window = padded(values[(slice(None), *inside.slices)], inside, reading.outer)
        part = probabilities_of(net, window, reading)
        if result is None:
            result = np.full((part.shape[0], height, width), np.nan, np.float32)
        result[(slice(None), *reading.core.slices)] = part
    return result


def in_one_pass(net, values):
    whole = Window(0, 0, *values.shape[1:])
    reading = reading_of(whole, whole.height, whole.width, 0, net.stride)
    return probabilities_of(net, padded(values, whole, reading.outer), reading)


NETS = {name: network(architecture) for name, architecture in UNETS.items()}
HALOS = {name: receptive_halo_px(net) for name, net in NETS.items()}


def test_the_classic_net_has_its_weights():
    """3,305,354 for one band of 128×128 pixels and ten classes."""
    architecture = choose_architecture("classic", "each tile", [DEM], 10, 128)
    assert sum(weight.numel() for weight in architecture.build().parameters()) == 3_305_354


@pytest.mark.parametrize("name", UNETS)
@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), steps=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_a_map_from_windows_equals_the_map_from_one_pass(name, height, width, steps, seed):
    """For any size of raster and window, with holes, and whatever lies beyond the edge; probabilities to 1e-4."""
    net, values = NETS[name], raster(height, width, seed)
    windows, whole = in_windows(net, values, steps * net.stride, HALOS[name]), in_one_pass(net, values)
    np.testing.assert_allclose(windows, whole, atol=1e-4)
    second, first = np.sort(whole, axis=0)[-2:]
    clear = first - second > 1e-5
    np.testing.assert_array_equal(windows.argmax(0)[clear], whole.argmax(0)[clear])


@settings(max_examples=12, deadline=None)
@given(row=st.integers(0, 60), column=st.integers(0, 70), height=st.integers(1, 30), width=st.integers(1, 30))
def test_any_window_of_a_map_can_be_read_alone(row, column, height, width):
    """Wherever it lies, also off the multiples of the stride."""
    net, values = NETS["default"], raster(70, 80, 3)
    core = Window(row, column, min(height, 70 - row), min(width, 80 - column))
    reading = reading_of(core, 70, 80, HALOS["default"], net.stride)
    inside = reading.outer.grown(0, 70, 80)
    part = probabilities_of(net, padded(values[(slice(None), *inside.slices)], inside, reading.outer), reading)
    np.testing.assert_allclose(part, in_one_pass(net, values)[(slice(None), *core.slices)], atol=1e-4)


@pytest.mark.parametrize("name", UNETS)
def test_a_net_sees_as_far_as_its_halo(name):
    """One pixel is changed: nothing changes beyond the halo, and something does near it, wherever it lies in a stride."""
    net, halo, farthest = NETS[name], HALOS[name], 0
    side = up_to_multiple(2 * halo + 3 * net.stride, net.stride)
    values = torch.from_numpy(raster(side, side, 1, holes=False))[None].double()
    wide = network(UNETS[name]).double()
    with torch.inference_mode():
        before = wide(values)
        for offset in range(0, net.stride, max(net.stride // 4, 1)):
            at = side // 2 // net.stride * net.stride + offset
            changed = values.clone()
            changed[:, :, at, at] += 1e4
            rows, columns = ((wide(changed) - before)[0] != 0).any(0).nonzero().T
            reach = int(max((rows - at).abs().max(), (columns - at).abs().max()))
            assert reach <= halo
            farthest = max(farthest, reach)
    assert farthest > halo // 2
    assert farthest >= halo - 2 * net.stride - net.intake.halo_px


def test_channels_do_not_depend_on_absolute_elevation():
    """A constant added to the elevation changes no channel that is made of it."""
    intake = Intake(1, [], [0], [2, 6], [3, 9])
    values = torch.from_numpy(raster(40, 50)[:1])[None]
    np.testing.assert_allclose(intake(values), intake(values + 512.0), atol=2e-3)
    np.testing.assert_allclose(intake(values.double()), intake(values.double() + 512.0), atol=1e-9)


def test_a_high_pass_is_the_value_less_the_mean_of_what_is_known():
    """Against a loop, with holes and at the edges."""
    values = raster(13, 15, 5)[:1]
    values[0, 4, 4] = np.nan
    channels = Intake(1, [], [0], [3])(torch.from_numpy(values)[None])[0, 0].numpy()
    for row in range(13):
        for column in range(15):
            window = values[0, max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
            known = values[0, row, column]
            wanted = 0.0 if np.isnan(known) else known - np.nanmean(window)
            assert channels[row, column] == pytest.approx(wanted, abs=1e-4)


def test_horizons_of_a_cone():
    """From its top every line of sight falls by the cone's slope; beside it the ground rises towards the top alone."""
    row, column = np.mgrid[-12:13, -12:13].astype(np.float32)
    cone = torch.from_numpy(-2.0 * np.hypot(row, column))[None, None].float()
    ascents, descents = (part[0] for part in horizons(cone, [9]))
    np.testing.assert_allclose(descents[:, 12, 12], -2.0, atol=1e-5)
    np.testing.assert_allclose(ascents[:, 12, 12], -2.0, atol=1e-5)
    north = DIRECTIONS.index((-1, 0))
    np.testing.assert_allclose(ascents[north, 22, 12], 2.0, atol=1e-5)  # ten pixels south of the top
    assert ascents[(north + 4) % 8, 22, 12] < 0


def test_horizons_of_a_step():
    """Ground that rises by 6 to the east of column 10, seen from three pixels away: 6/3 to the east, 6/(3√2) diagonally."""
    step = np.zeros((21, 21), np.float32)
    step[:, 10:] = 6.0
    near, near_down, far, far_down = (part[0] for part in horizons(torch.from_numpy(step)[None, None], [2, 8]))
    east, north_east = DIRECTIONS.index((0, 1)), DIRECTIONS.index((-1, 1))
    assert (near[:, 10, 7] == 0).all()
    assert far[east, 10, 7] == pytest.approx(2.0)
    assert far[north_east, 10, 7] == pytest.approx(6 / (3 * math.sqrt(2)))
    assert far[DIRECTIONS.index((0, -1)), 10, 7] == 0
    assert (near_down[:, 10, 7] == 0).all()
    assert far_down[DIRECTIONS.index((0, -1)), 10, 12] == pytest.approx(-2.0)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (3, 15), (0, 1), (2, 3), (15, 40)])
def test_a_line_of_sight_ends_where_it_should(start, end):
    """Every step lies beyond the start and within the end, at least one in each direction, and none is skipped near by."""
    for length in (1.0, math.sqrt(2)):
        steps = sight_steps(start, end, length)
        assert steps == sorted(set(steps))
        assert steps[-1] * length <= end or len(steps) == 1
        if end <= 16:
            inside = [step for step in range(1, end + 1) if start < step * length <= end]
            assert steps == inside or (not inside and len(steps) == 1)


@pytest.mark.parametrize("symmetry", ALL)
def test_turned_channels_are_those_of_the_turned_surface(symmetry):
    """All eight symmetries, two surfaces, high-passes and horizons."""
    intake = Intake(3, [1], [0, 2], [2, 4], [2, 6])
    intake.derived_scale.copy_(torch.arange(intake.derived_scale.numel()) // 16 + 1.0)
    for start in (0, 2 + 32):  # directions of one reach share a scale
        intake.derived_scale[start + 2 : start + 18], intake.derived_scale[start + 18 : start + 34] = 3.0, 4.0
    values = np.concatenate([raster(20, 24, 1), raster(20, 24, 2)[:1]])
    derived = intake.derive(torch.from_numpy(values)[None])[0].numpy()
    again = intake.derive(torch.from_numpy(np.ascontiguousarray(turn(values, symmetry)))[None])[0].numpy()
    np.testing.assert_allclose(intake.turned(derived, symmetry), again, atol=1e-5)


def test_the_sight_net_does_not_depend_on_where_north_is():
    """Channels of a turned surface give the turned features."""
    torch.manual_seed(0)
    net = UNETS["high-passes and horizons"].build().eval()
    values = raster(24, 24, 4)
    plain = net.sight(net.intake(torch.from_numpy(values)[None]))[0].detach().numpy()
    for symmetry in ALL:
        turned = torch.from_numpy(np.ascontiguousarray(turn(values, symmetry)))[None]
        seen = net.sight(net.intake(turned))[0].detach().numpy()
        np.testing.assert_allclose(seen, turn(plain, symmetry), atol=1e-5)


@pytest.mark.parametrize("symmetry", ALL)
def test_azimuths_and_vectors_are_turned_with_the_ground(symmetry):
    """Aspect and gradient of a turned surface are those that turning the tile gives, known from the surface's formula."""
    row, column = np.mgrid[-8:9, -8:9].astype(float)
    east, north = column, -row

    def bands_of(surface):
        """Gradient of z = east² / 3 + north · east / 2 + 4 north, by the chain rule through the symmetry."""
        gradient_north, gradient_east = np.gradient(surface)
        gradient_north = -gradient_north
        aspect = np.mod(np.degrees(np.arctan2(-gradient_east, -gradient_north)), 360.0)
        return np.stack([surface, aspect, gradient_east, gradient_north]).astype(np.float32)

    surface = east**2 / 3 + north * east / 2 + 4 * north
    kinds = [Band("z"), Band("aspect", kind="azimuth"), Band("e", kind="vector_x"), Band("n", kind="vector_y")]
    turned, wanted = turn_tile(bands_of(surface), kinds, symmetry), bands_of(turn(surface, symmetry))
    np.testing.assert_allclose(turned[[0, 2, 3]], wanted[[0, 2, 3]], atol=1e-4)
    apart = np.abs(np.mod(turned[1] - wanted[1] + 180.0, 360.0) - 180.0)
    steep = np.hypot(wanted[2], wanted[3]) > 0.1
    assert apart[steep].max() < 1e-2


def test_bands_say_which_turns_they_bear():
    """Anything lit or measured from one side, or half a vector, may not be turned."""
    assert allowed_symmetries([Band("z"), Band("a", kind="azimuth")]) == ALL
    assert allowed_symmetries([Band("z"), Band("shade", kind="directional")]) == NONE
    assert allowed_symmetries([Band("e", kind="vector_x")]) == NONE
    assert allowed_symmetries([Band("e", kind="vector_x"), Band("n", kind="vector_y")]) == ALL
    assert Symmetry(0, False) in NONE


@pytest.mark.parametrize("name", ["classic", "pooled"])
@pytest.mark.parametrize("bands", [[DEM, SLOPE], [SLOPE, SLOPE]])
def test_a_tile_net_slides(name, bands):
    """Its logits for a raster are those of each tile by itself, to 1e-6 of their size."""
    architecture = choose_architecture(name, "each tile", bands, 3, 48)
    net = network(architecture, 2)
    values = torch.from_numpy(raster(48 + 5 * 8, 48 + 3 * 8, 7))[None]
    with torch.inference_mode():
        slid = net(values)[0]
        assert slid.shape == (3, 6, 4)
        for row in range(6):
            for column in range(4):
                alone = net(values[..., 8 * row : 8 * row + 48, 8 * column : 8 * column + 48])[0, :, 0, 0]
                assert (alone - slid[:, row, column]).abs().max() <= 1e-6 * max(float(slid.abs().max()), 1.0)


def test_an_architecture_comes_back_from_its_numbers():
    """And one that the registry does not know, or a number of no net, is refused."""
    for architecture in UNETS.values():
        assert Architecture.from_dict(architecture.as_dict()) == architecture
    good = UNETS["default"].as_dict()
    for change in ({"name": "os.system"}, {"numbers": {"width": 3}}, {"more": 1}):
        with pytest.raises(ModelFileError, match="unknown to this version"):
            Architecture.from_dict({**good, **change})


def test_a_net_for_another_task_or_for_larger_tiles_is_refused():
    """The sentence names what fits."""
    with pytest.raises(SettingsError, match="one of pooled, classic"):
        choose_architecture("unet", "each tile", [DEM], 3, 64)
    with pytest.raises(SettingsError, match="pixels or more"):
        choose_architecture("pooled", "each tile", [DEM], 3, 24)
    smallest = 32
    choose_architecture("pooled", "each tile", [DEM], 3, smallest).build()


def test_a_fused_convolution_adds_only_what_fits():
    """It gives what the steps give one by one, and refuses another shape, which the operator would write beyond."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(5, 3, 3, padding=1)
    fused, x, other = FusedConvolution(convolution, rectified=True), torch.randn(2, 5, 7, 9), torch.randn(2, 3, 7, 9)
    with torch.inference_mode():
        np.testing.assert_allclose(fused(x), torch.relu(convolution(x)), atol=1e-5)
        np.testing.assert_allclose(fused(x, other), torch.relu(convolution(x) + other), atol=1e-5)
        with pytest.raises(ValueError, match="cannot be added"):
            fused(x, other[:, :, 1:])
