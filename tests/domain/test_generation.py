"""What may be asked of an engine is checked where it is said."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ondevice.domain.device import Device, DeviceUse, Moved, Offload
from ondevice.domain.generation import ChatMessage, EngineInfo, Prompt, Sampling


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 1.01},
        {"min_p": -1.0},
        {"repeat_penalty": 0.0},
        {"seed": -1},
        {"seed": 2**32},
    ],
    ids=str,
)
def test_sampling_outside_its_range_is_refused_with_the_range(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=f"{name} is .*; it must be from"):
        Sampling(**values)


def test_a_one_turn_chat_has_a_system_message_only_when_given() -> None:
    assert Prompt.chat("hi").messages == (ChatMessage("user", "hi"),)
    assert Prompt.chat("hi", "be brief").messages[0] == ChatMessage("system", "be brief")
    assert Prompt.chat("hi", "be brief").characters == 10
    assert Prompt(tokens=(1, 2)).characters == 0


CARD = Device("CUDA0", "A card", "cuda", 1, 2)


@pytest.mark.parametrize(
    ("offload", "place"),
    [
        pytest.param(None, "CUDA", id="an engine that does not tell layers apart"),
        pytest.param(Offload(31, (DeviceUse(CARD, 31, 1),)), "CUDA", id="all"),
        pytest.param(Offload(31, (DeviceUse(CARD, 12, 1),)), "CUDA 12/31", id="some"),
        pytest.param(
            Offload(31, (DeviceUse(CARD, 31, 1),), Moved("CUDA0", 2, "blk.0.ffn_up.weight (q6_K)")),
            "CUDA+CPU",
            id="all but for some tensors",
        ),
    ],
)
def test_where_it_computes_is_a_word(offload: Offload | None, place: str) -> None:
    info = EngineInfo("e", "cuda", "b", (), 1, 1, 1, True, None, False, True, 1, offload=offload)
    assert info.place == place
