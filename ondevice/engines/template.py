"""Chat templates: Jinja programs that come inside model files, so they are not trusted.

They render in the engine's process, in a sandbox. The sandbox bounds neither time nor memory
(`{{ 'a' * 3000000000 }}` is legal), so memory is limited while rendering, the output is capped,
and the parent's deadline ends a process that does not come back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ondevice.domain.generation import ChatMessage
from ondevice.domain.text import clean_line
from ondevice.domain.thinking import USUAL_TAGS, ThinkingStyle
from ondevice.errors import TemplateFailed
from ondevice.hardware.system import memory_limit

MAX_TEMPLATE_CHARACTERS = 1 << 20
MAX_RENDERED_CHARACTERS = 64 << 20
MAX_EXTRA_MEMORY_BYTES = 512 << 20
_HINT = "Try another file of this model, or `ondevice run --raw`, which needs no template."


class ChatTemplate:
    """One compiled chat template."""

    def __init__(self, source: str, bos: str, eos: str) -> None:
        """Compile. Raises TemplateFailed."""
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # deferred: 58 ms

        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateFailed("the chat template is over 1 MB", hint=_HINT)
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        self._bos, self._eos = bos, eos
        try:
            with memory_limit(MAX_EXTRA_MEMORY_BYTES):
                self._template = environment.from_string(source)
        except Exception as error:  # Jinja folds constants, which can raise anything
            raise _failed("does not parse", error) from None

    def render(self, messages: Sequence[ChatMessage]) -> tuple[str, bool]:
        """The prompt, and whether the system message was folded into the first user message.

        Some templates refuse a system message; what it says is then put before the user's text.
        Raises TemplateFailed.
        """
        try:
            return self._render(messages), False
        except TemplateFailed:
            folded = _fold_system(messages)
            if folded is None:
                raise
            return self._render(folded), True

    def render_alone(self, message: ChatMessage) -> str:
        """What stands of a chat that has only this message, before an answer is asked for."""
        return self._render([message], ask=False)

    def _render(self, messages: Sequence[ChatMessage], ask: bool = True) -> str:
        pieces: list[str] = []
        length = 0
        try:
            with memory_limit(MAX_EXTRA_MEMORY_BYTES):
                for piece in self._template.generate(
                    messages=[{"role": m.role, "content": m.shown} for m in messages],
                    add_generation_prompt=ask,
                    bos_token=self._bos,
                    eos_token=self._eos,
                ):
                    length += len(piece)
                    if length > MAX_RENDERED_CHARACTERS:
                        raise TemplateFailed("the chat template writes without end", hint=_HINT)
                    pieces.append(piece)
        except TemplateFailed:
            raise
        except Exception as error:  # a template can raise anything, it is a program of others
            raise _failed("fails", error) from None
        return "".join(pieces)


def thinking_style(source: str, template: ChatTemplate) -> ThinkingStyle:
    """How a model with this template marks its thinking, as far as the template tells."""
    tags = next((pair for pair in USUAL_TAGS if pair[1] in source), None)
    if tags is None:
        return ThinkingStyle()
    opening, closing = tags
    question, thought = ChatMessage("user", "1"), "a thought of long ago"
    answer = ChatMessage("assistant", f"{opening}\n{thought}\n{closing}\n\nan answer")
    try:
        first, _ = template.render([question])
        later, _ = template.render([question, answer, question])
    except TemplateFailed:
        return ThinkingStyle(opening, closing)
    return ThinkingStyle(
        opening,
        closing,
        begun_by_prompt=first.rstrip().endswith(opening),
        stripped_by_template=thought not in later,
    )


def _failed(how: str, error: Exception) -> TemplateFailed:
    said = clean_line(str(error))
    name = type(error).__name__
    return TemplateFailed(f"the chat template {how}: {name}" + (said and f": {said}"), hint=_HINT)


def _fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage] | None:
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    system, user, *rest = messages
    return [ChatMessage("user", f"{system.shown}\n\n{user.shown}"), *rest]


def _refuse(message: str) -> str:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """With the arguments that templates written for transformers use."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
