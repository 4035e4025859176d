"""From a prompt to token ids: rendered, checked, tokenized, what is kept taken as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ondevice import errors
from ondevice.domain.generation import COMPLETION_MODE, EngineNotice, Prompt, PromptTokens
from ondevice.domain.thinking import ThinkingStyle
from ondevice.engines import parts
from ondevice.engines.kept import KeptPrefix
from ondevice.engines.template import ChatTemplate, thinking_style


class TokenContext(Protocol):
    """What is asked of a loaded model here: its tokens, its template, the bounds of its context."""

    @property
    def n_ctx(self) -> int: ...

    @property
    def n_ctx_train(self) -> int: ...

    @property
    def unbounded(self) -> bool:
        """Whether n_ctx bounds nothing."""
        ...

    def tokenize(self, text: str, add_begin: bool) -> list[int]:
        """Ids of `text`; special tokens in it are recognised."""
        ...

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes of one token; control tokens are empty unless `special`."""
        ...

    def is_special(self, token: int) -> bool:
        """Whether text never merges with it."""
        ...

    def begin_and_end(self) -> tuple[str, str]:
        """Text of the begin and end tokens, for templates; empty where there is none."""
        ...

    def template(self) -> str | None:
        """The chat template that came with the model."""
        ...

    def vocabulary(self) -> int:
        """How many ids there are."""
        ...


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A prompt as the model gets it."""

    ids: list[int]
    rendered: str | None = None
    """The text of the ids, if a template wrote it."""
    notices: list[EngineNotice] = field(default_factory=list)


class Prompts:
    """Reads prompts for one loaded model."""

    def __init__(self, context: TokenContext, kept: KeptPrefix) -> None:
        self._context, self._kept = context, kept
        self._template: ChatTemplate | errors.TemplateFailed | None = None
        """An error where the file has a template that does not compile: text still works."""
        self.thinking = ThinkingStyle()
        if source := context.template():
            try:
                self._template = ChatTemplate(source, *context.begin_and_end())
                self.thinking = thinking_style(source, self._template)
            except errors.TemplateFailed as error:
                self._template = error

    @property
    def has_template(self) -> bool:
        return self._template is not None

    def read(self, prompt: Prompt) -> ReadPrompt:
        """The ids of `prompt`. Raises ContextOverflow, TemplateFailed or EngineTrouble."""
        context = self._context
        if prompt.tokens:
            if not all(0 <= token < context.vocabulary() for token in prompt.tokens):
                raise errors.EngineTrouble("a token id is outside the vocabulary")
            return ReadPrompt(list(prompt.tokens))
        if prompt.text is not None or self._template is None:
            return self._completion(prompt)
        template = self._usable_template()
        rendered, folded = template.render(prompt.messages)
        self._check_length(rendered)
        begin, _ = context.begin_and_end()

        def tokenize(text: str, at_start: bool) -> list[int]:
            return context.tokenize(text, at_start and not (begin and text.startswith(begin)))

        ids = self._kept.ids_for(rendered, tokenize, context.is_special)
        notices = []
        if folded:
            notices.append(EngineNotice("system_folded", "this model has no system role"))
        return ReadPrompt(ids, rendered, notices)

    def count(self, prompt: Prompt) -> PromptTokens:
        """The tokens of `prompt` by part; raises what `read` raises."""
        read = self.read(prompt)
        if read.rendered is None:
            return PromptTokens(history=len(read.ids))
        where = parts.spans(self._usable_template(), prompt.messages, read.rendered)
        pieces = [self._context.piece(token, special=True) for token in read.ids]
        return parts.count(pieces, read.rendered, where)

    def check_fits(self, ids: list[int]) -> None:
        """Refuse ids that leave no room for an answer. Raises ContextOverflow."""
        context = self._context
        if not ids:
            raise errors.EngineTrouble("the prompt is empty", hint="Write something first.")
        if context.unbounded or len(ids) < context.n_ctx:
            return
        larger = ""
        if context.n_ctx < context.n_ctx_train:
            how = f"the setting `context`, or -c, up to {context.n_ctx_train}"
            larger = f"raise the context ({how}), "
        raise errors.ContextOverflow(
            f"the prompt has {len(ids):,} tokens; the context holds {context.n_ctx:,}",
            hint=f"Nothing was cut. You can {larger}shorten the text or start a new conversation.",
        )

    def _usable_template(self) -> ChatTemplate:
        template = self._template
        if isinstance(template, ChatTemplate):
            return template
        assert template is not None  # whoever asks has seen that there is one
        raise errors.TemplateFailed(template.message, template.hint)

    def _completion(self, prompt: Prompt) -> ReadPrompt:
        notices = []
        text = prompt.text
        if text is None:
            text = "\n\n".join(message.shown for message in prompt.messages)
            notices.append(COMPLETION_MODE)
        self._check_length(text)
        ids = self._context.tokenize(text, True) if text else []
        return ReadPrompt(ids, None, notices)

    def _check_length(self, text: str) -> None:
        """Refuse what cannot fit before tokenizing it: 10 MB take seconds and 300 MB."""
        context = self._context
        if context.unbounded or len(text) <= 64 * context.n_ctx:
            return
        raise errors.ContextOverflow(
            f"the prompt has {len(text):,} characters; the context holds {context.n_ctx:,} tokens",
            hint="Shorten it, or ask about a part of it.",
        )
