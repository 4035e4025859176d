"""What may be asked of an engine is checked where it is said."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ondevice.domain.generation import ChatMessage, Prompt, Sampling


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
