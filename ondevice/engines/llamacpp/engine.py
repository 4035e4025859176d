"""The llama.cpp engine: load, prefill, decode, and what is kept between requests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from ondevice import errors
from ondevice.domain.generation import (
    EngineInfo,
    EngineNotice,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
)
from ondevice.domain.model import ModelFile
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.kept import KeptPrefix, common_prefix
from ondevice.engines.llamacpp import binding, loading
from ondevice.engines.llamacpp.context import ABORTED, Context
from ondevice.engines.llamacpp.run import Run
from ondevice.engines.llamacpp.sampling import Sampler
from ondevice.engines.llamacpp.stopping import StopFlag
from ondevice.engines.stream import TextStream
from ondevice.engines.template import ChatTemplate
from ondevice.engines.threads import ThreadGovernor

PROBE = 32
"""Tokens: 0.1 s for the starter model on a quiet machine, 4 s on a crowded one."""


class LlamaCppEngine:
    """Runs GGUF files. Use it through `engines.process`: native code can end its process."""

    def __init__(self) -> None:
        self._lib: Any = None
        self._context: Context | None = None
        self._template: ChatTemplate | errors.TemplateFailed | None = None
        """An error where the file has a template that does not compile: text still works."""
        self._kept = KeptPrefix()
        self._governor = ThreadGovernor(1, fixed=True)
        self._told_threads = 1
        self._last_used = 0.0
        self._stop = StopFlag()
        self._callbacks: list[Any] = []
        """What llama.cpp may call; it does not keep them alive."""

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        self.close()
        lib = self._lib = binding.load()
        log = loading.Log(lib)
        self._callbacks = [log]
        choices = loading.choose(file, options)
        context = loading.open_context(lib, log, file, options, choices, progress)
        self._stop.attach(lib, context.handle)
        self._context = context
        self._governor = ThreadGovernor(choices.threads, fixed=choices.threads_fixed)
        self._told_threads = choices.threads
        self._template = _compile_template(context)
        return EngineInfo(
            engine="llama.cpp",
            backend="cpu",
            build=binding.build(),
            model_path=os.path.realpath(file.path),
            n_ctx=context.n_ctx,
            n_ctx_train=context.n_ctx_train,
            threads=choices.threads,
            threads_fixed=choices.threads_fixed,
            flash_attention=choices.flash_attention,
            repacked=choices.repack,
            has_template=self._template is not None,
            pid=os.getpid(),
            notices=choices.notices + loading.fallbacks(lib, options),
            kv_type=choices.kv_type,
        )

    def count_tokens(self, prompt: Prompt) -> int:
        ids, _, _ = self._prompt_ids(self._loaded(), prompt)
        return len(ids)

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        start = time.monotonic()
        context = self._loaded()
        self._stop.clear()
        ids, rendered, notices = self._prompt_ids(context, request.prompt)
        self._check_fits(context, ids)
        yield from notices
        cached, miss = self._reuse(context, ids)
        if miss:
            yield miss
        self._kept.remember_prompt(ids, rendered)
        room = None if context.unbounded else context.n_ctx - len(ids)
        run = Run(request, len(ids), cached, start, room)
        sampler = Sampler(self._lib, context.vocabulary(), request.sampling, ids)
        context.set_threads(self._governor.begin(idle_s=start - self._last_used))
        try:
            yield from self._prefill(context, ids[cached:], run)
            if not run.finish:
                yield from self._decode(context, sampler, run)
        finally:
            sampler.close()
            self._kept.remember_reply(run.reply_ids(), run.reply_text())
            self._last_used = time.monotonic()
        yield run.done(self._governor.settled, context.n_ctx)

    def cancel(self) -> None:
        self._stop.set()

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
        self._context = self._template = None
        self._kept.forget()

    def _loaded(self) -> Context:
        if self._context is None:
            raise errors.EngineClosed("no model is loaded", hint="Load one first.")
        return self._context

    # The prompt

    def _prompt_ids(
        self, context: Context, prompt: Prompt
    ) -> tuple[list[int], str | None, list[EngineNotice]]:
        """The ids; the text they were rendered from, if a template wrote it; what to tell."""
        if prompt.tokens:
            if not all(0 <= token < context.vocabulary() for token in prompt.tokens):
                raise errors.EngineTrouble("a token id is outside the vocabulary")
            return list(prompt.tokens), None, []
        if prompt.text is not None or self._template is None:
            return self._completion_ids(context, prompt)
        if isinstance(self._template, errors.TemplateFailed):
            raise errors.TemplateFailed(self._template.message, self._template.hint)
        rendered, folded = self._template.render(prompt.messages)
        self._check_length(context, rendered)
        begin, _ = context.begin_and_end()

        def tokenize(text: str, at_start: bool) -> list[int]:
            return context.tokenize(text, at_start and not (begin and text.startswith(begin)))

        ids = self._kept.ids_for(rendered, tokenize, context.is_special)
        notices = []
        if folded:
            notices.append(EngineNotice("system_folded", "this model has no system role"))
        return ids, rendered, notices

    def _completion_ids(
        self, context: Context, prompt: Prompt
    ) -> tuple[list[int], str | None, list[EngineNotice]]:
        notices = []
        text = prompt.text
        if text is None:
            text = "\n\n".join(message.content for message in prompt.messages)
            said = "a base model without a template: it continues text"
            notices.append(EngineNotice("completion_mode", said))
        self._check_length(context, text)
        return context.tokenize(text, True) if text else [], None, notices

    def _check_length(self, context: Context, text: str) -> None:
        """Refuse what cannot fit before tokenizing it: 10 MB take seconds and 300 MB."""
        if context.unbounded or len(text) <= 64 * context.n_ctx:
            return
        raise errors.ContextOverflow(
            f"the prompt has {len(text):,} characters; the context holds {context.n_ctx:,} tokens",
            hint="Shorten it, or ask about a part of it.",
        )

    def _check_fits(self, context: Context, ids: list[int]) -> None:
        if not ids:
            raise errors.EngineTrouble("the prompt is empty", hint="Write something first.")
        if context.unbounded or len(ids) < context.n_ctx:
            return
        larger = ""
        if context.n_ctx < context.n_ctx_train:
            larger = f"raise the context (--ctx, up to {context.n_ctx_train}), "
        raise errors.ContextOverflow(
            f"the prompt has {len(ids):,} tokens; the context holds {context.n_ctx:,}",
            hint=f"Nothing was cut. You can {larger}shorten the text or start a new conversation.",
        )

    def _reuse(self, context: Context, ids: list[int]) -> tuple[int, EngineNotice | None]:
        """Keep the state of the shared prefix; at least the last id is evaluated again."""
        held = context.evaluated
        shared = min(common_prefix(self._kept.ids, ids), held, len(ids) - 1)
        cached = context.rewind(shared)
        if held == 0 or cached == shared == min(held, len(ids) - 1):
            return cached, None
        if cached < shared:
            why = "this kind of model cannot go back there"
        else:
            why = f"this prompt is another one from token {shared} on"
        said = f"{held - cached} tokens of the last turn could not be reused: {why}"
        return cached, EngineNotice("cache_miss", said)

    def _prefill(self, context: Context, ids: list[int], run: Run) -> Iterator[GenerationEvent]:
        begin = time.monotonic()
        yield PrefillProgress(0, len(ids), run.cached, 0.0)
        done = 0
        probe = PROBE if self._governor.adapts and len(ids) > 4 * PROBE else 0
        for batch in _batches(ids, context.batch, probe, context.needs_snapshots):
            if context.needs_snapshots and done + 1 == len(ids):
                context.take_snapshot()
            if self._timed_step(context, batch, run, self._governor.observe_prompt):
                return
            done += len(batch)
            if done < len(ids):
                yield PrefillProgress(done, len(ids), run.cached, time.monotonic() - begin)
        context.wait()
        run.prefill_s = time.monotonic() - begin
        yield PrefillProgress(done, len(ids), run.cached, run.prefill_s)
        yield from self._thread_notice()

    def _step(self, context: Context, ids: list[int], run: Run) -> bool:
        """Evaluate; True when the run ends here."""
        answer = context.evaluate(ids)
        if answer == 0 and not self._stop.is_set():
            return False
        if answer in (0, ABORTED):
            run.finish = "cancelled"
            return True
        raise errors.EngineTrouble(f"llama.cpp could not evaluate the tokens (code {answer})")

    # Decode

    def _decode(self, context: Context, sampler: Sampler, run: Run) -> Iterator[GenerationEvent]:
        stream = TextStream(run.request.stop)
        while True:
            token = sampler.sample(context.handle)
            run.sampled(token)
            ended = context.is_end(token)
            piece = b"" if ended else context.piece(token)
            text = stream.feed(piece)
            if text or run.silent:
                yield run.delta(text)
            run.judge(ended, stream.stopped, piece)
            if run.finish or self._timed_step(context, [token], run, self._governor.observe):
                break
            yield from self._thread_notice()
        if text := stream.finish(cut=run.finish in ("cancelled", "length")):
            yield run.delta(text)

    def _timed_step(
        self, context: Context, ids: list[int], run: Run, observe: Callable[..., int | None]
    ) -> bool:
        """A step that the governor is told of."""
        wall, cpu = time.monotonic(), time.process_time()
        stop = self._step(context, ids, run)
        threads = observe(time.monotonic() - wall, time.process_time() - cpu)
        if threads is not None:
            context.set_threads(threads)
        return stop

    def _thread_notice(self) -> Iterator[EngineNotice]:
        """What was settled is told; tries are not."""
        settled = self._governor.settled
        if settled != self._told_threads:
            self._told_threads = settled
            yield EngineNotice("threads", f"now {settled} of {self._governor.most} threads")


def _compile_template(context: Context) -> ChatTemplate | errors.TemplateFailed | None:
    source = context.template()
    if not source:
        return None
    try:
        return ChatTemplate(source, *context.begin_and_end())
    except errors.TemplateFailed as error:
        return error


def _batches(ids: list[int], size: int, probe: int, last_alone: bool) -> Iterator[list[int]]:
    """`ids` in evaluations of at most `size`.

    Of a long prompt a small part, `probe`, goes first, to find out how busy the machine is.
    Asking again needs the logits of the last id, so where the state cannot be cut back a
    snapshot is taken before it, and it is evaluated alone.
    """
    end = len(ids) - 1 if last_alone else len(ids)
    if probe:
        yield ids[:probe]
    for begin in range(probe, end, size):
        yield ids[begin : min(begin + size, end)]
    if last_alone:
        yield ids[-1:]
