"""How many layers fit: never more than the room, never fewer than would fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondevice.domain.device import Device, DeviceUse, Moved, Offload
from ondevice.domain.offload import MARGIN_BYTES, LayerSizes, layers_that_fit, margin

MB = 1 << 20
SIZES = LayerSizes(layers=(100 * MB, 200 * MB, 300 * MB), output=50 * MB, compute=25 * MB)
SOME = st.integers(0, 1 << 36)


@pytest.mark.parametrize(
    ("count", "megabytes"), [(0, 0), (1, 75), (2, 375), (3, 575), (4, 675)], ids=str
)
def test_the_output_goes_first_then_the_last_layers(count: int, megabytes: int) -> None:
    assert SIZES.needed(count) == megabytes * MB


@pytest.mark.parametrize(
    ("free", "fits"),
    [
        pytest.param([], 0, id="no device"),
        pytest.param([0], 0, id="one that says nothing"),
        pytest.param([74 * MB + MARGIN_BYTES], 0, id="not even the output"),
        pytest.param([75 * MB + MARGIN_BYTES], 1, id="the output alone"),
        pytest.param([600 * MB + MARGIN_BYTES], 3, id="all but one"),
        pytest.param([675 * MB + MARGIN_BYTES], 4, id="all of them"),
        pytest.param([400 * MB + MARGIN_BYTES] * 2, 4, id="all on two"),
        pytest.param([675 * MB + MARGIN_BYTES, 20 * MB], 4, id="one that is full is not counted"),
    ],
)
def test_what_fits(free: list[int], fits: int) -> None:
    assert layers_that_fit(SIZES, free) == fits


@pytest.mark.parametrize(
    ("free", "kept"), [(0, MARGIN_BYTES), (1 << 30, MARGIN_BYTES), (100 << 30, 10 << 30)], ids=str
)
def test_a_tenth_stays_free_and_never_less_than_the_least(free: int, kept: int) -> None:
    assert margin(free) == kept


@given(
    st.builds(LayerSizes, st.lists(SOME, max_size=40).map(tuple), output=SOME, compute=SOME),
    SOME,
    SOME,
)
def test_no_more_than_the_room_and_no_fewer_than_fit(
    sizes: LayerSizes, free: int, more: int
) -> None:
    fits, room = layers_that_fit(sizes, [free]), free - margin(free)
    assert sizes.needed(fits) <= max(0, room)
    assert fits == sizes.most or sizes.needed(fits + 1) > room or room <= sizes.compute
    assert layers_that_fit(sizes, [free + more]) >= fits


def test_where_a_model_is_adds_up_over_devices() -> None:
    device = Device("CUDA0", "A card", "cuda", 1, 2)
    split = Offload(31, (DeviceUse(device, 12, 100), DeviceUse(device, 19, 200)))
    assert (split.layers, split.used_bytes, split.whole) == (31, 300, True)
    assert not Offload(31, (DeviceUse(device, 30, 1),)).whole
    assert not Offload(0).whole
    moved = Moved("CUDA0", 2, "blk.0.ffn_down.weight (q6_K)")
    assert not Offload(31, split.devices, moved).whole
