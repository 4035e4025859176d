"""The ONNX engine: load, prefill, decode, and what is kept between requests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ondevice import errors
from ondevice.domain.generation import (
    EngineInfo,
    GenerationEvent,
    GenerationRequest,
    LoadOptions,
    PrefillProgress,
    Prompt,
    PromptTokens,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import PromptIds, ScoreEvent, ScoreRequest
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.kept import KeptPrefix
from ondevice.engines.onnx import binding, loading
from ondevice.engines.onnx.context import Context
from ondevice.engines.onnx.sampling import Sampler
from ondevice.engines.onnx.scoring import Logits
from ondevice.engines.prompts import Prompts
from ondevice.engines.run import Run, decode
from ondevice.engines.scoring import Scorer
from ondevice.onnx.memory import BATCH


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What there is while a model is loaded."""

    context: Context
    prompts: Prompts
    scorer: Scorer
    threads: int


class OnnxEngine:
    """Runs folders of ONNX Runtime GenAI. Use it through `engines.process`."""

    def __init__(self) -> None:
        self._lib = binding.load()
        self._loaded: _Loaded | None = None
        self._kept = KeptPrefix()

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress = no_progress
    ) -> EngineInfo:
        self.close()
        opened = loading.open_folder(self._lib, file, options)
        context = opened.context
        prompts = Prompts(context, self._kept)
        scorer = Scorer(context, prompts, Logits(context))
        self._loaded = _Loaded(context, prompts, scorer, opened.threads)
        return EngineInfo(
            engine="onnx",
            backend=opened.backend,
            build=binding.build(),
            model_paths=tuple(os.path.realpath(each) for each in opened.folder.mapped),
            n_ctx=context.n_ctx,
            n_ctx_train=context.n_ctx_train,
            threads=opened.threads,
            threads_fixed=True,
            flash_attention=None,
            repacked=_repacked(options, opened.backend),
            has_template=prompts.has_template,
            pid=os.getpid(),
            notices=opened.notices,
            kv_type=None,
            capabilities=("scores",),
            thinking=prompts.thinking,
            vocabulary=context.vocabulary(),
        )

    def count_tokens(self, prompt: Prompt) -> PromptTokens:
        return self._model().prompts.count(prompt)

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        start = time.monotonic()
        model = self._model()
        context = model.context
        if request.schema is not None:
            raise errors.SchemaRefused(
                "this engine holds no answer to a schema", hint="Use a GGUF file of this model."
            )
        context.let_go()
        read = model.prompts.read(request.prompt)
        ids = read.ids
        model.prompts.check_fits(ids)
        yield from read.notices
        if not request.reuse:
            self._kept.drop(context)
        cached, miss = self._kept.reuse(context, ids)
        if miss:
            yield miss
        self._kept.remember_prompt(ids, read.rendered)
        run = Run(request, len(ids), cached, start, context.n_ctx - len(ids))
        try:
            yield from self._prefill(context, ids[cached:], run)
            if not run.finish:
                yield from self._decode(context, Sampler(request.sampling, ids), run)
        finally:
            self._kept.remember_reply(run.reply_ids(), run.reply_text())
        yield run.done(model.threads, context.n_ctx)

    def tokenize(self, prompt: Prompt) -> PromptIds:
        return self._model().scorer.tokenize(prompt)

    def score(self, request: ScoreRequest) -> Iterator[ScoreEvent]:
        model = self._model()
        model.context.let_go()
        self._kept.drop(model.context)
        yield from model.scorer.score(request)

    def cancel(self) -> None:
        if self._loaded is not None:
            self._loaded.context.stop()

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.context.close()
        self._loaded = None
        self._kept.forget()

    def _model(self) -> _Loaded:
        if self._loaded is None:
            raise errors.EngineClosed("no model is loaded", hint="Load one first.")
        return self._loaded

    def _prefill(self, context: Context, ids: list[int], run: Run) -> Iterator[GenerationEvent]:
        begin = time.monotonic()
        yield PrefillProgress(0, len(ids), run.cached, 0.0)
        for at in range(0, len(ids), BATCH):
            goes_on = context.evaluate(ids[at : at + BATCH])
            run.prefill_s = time.monotonic() - begin
            # of a batch that was stopped nothing is held, and at worst nothing at all
            done = max(at, context.evaluated - run.cached)
            run.unread = len(ids) - done
            if not goes_on:
                run.finish = "cancelled"
                return
            yield PrefillProgress(done, len(ids), run.cached, run.prefill_s)

    def _decode(self, context: Context, sampler: Sampler, run: Run) -> Iterator[GenerationEvent]:
        def sample() -> int:
            return sampler.sample(context.logits())

        def evaluate(token: int) -> bool:
            return context.evaluate([token])

        return decode(run, context, sample, evaluate)


def _repacked(options: LoadOptions, backend: str) -> bool | None:
    """The library does not say; its CPU rewrites what it may (onnx/memory.py)."""
    if options.repack is False:
        return False
    return True if backend == "cpu" else None
