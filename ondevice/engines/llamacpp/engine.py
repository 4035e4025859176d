"""The llama.cpp engine: load, prefill, decode, and what is kept between requests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
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
    PromptTokens,
)
from ondevice.domain.model import ModelFile
from ondevice.domain.scoring import PromptIds, ScoreEvent, ScoreRequest
from ondevice.engines import statefile
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.engines.kept import KeptPrefix
from ondevice.engines.llamacpp import binding, loading
from ondevice.engines.llamacpp.batches import PROBE, Pace, batches
from ondevice.engines.llamacpp.bound import of_model
from ondevice.engines.llamacpp.context import Context
from ondevice.engines.llamacpp.guided import TokenSource, make_sampler
from ondevice.engines.llamacpp.log import Log
from ondevice.engines.llamacpp.scoring import Logits
from ondevice.engines.llamacpp.stopping import StopFlag
from ondevice.engines.prompts import Prompts
from ondevice.engines.run import Run, decode
from ondevice.engines.scoring import Scorer
from ondevice.engines.threads import ThreadGovernor


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What there is while a model is loaded."""

    context: Context
    prompts: Prompts
    scorer: Scorer
    binding: statefile.Binding
    """What its states belong to, but for the hash of the model, which the parent knows."""
    on_device: bool


class LlamaCppEngine:
    """Runs GGUF files. Use it through `engines.process`: native code can end its process."""

    def __init__(self) -> None:
        self._lib: Any = None
        self._loaded: _Loaded | None = None
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
        log = Log(lib)
        self._callbacks = [log]
        opened = loading.open_file(lib, file, options, log, progress)
        context, choices = opened.context, opened.choices
        self._stop.attach(lib, context.handle)
        prompts = Prompts(context, self._kept)
        on_device = opened.offload.layers > 0
        scorer = Scorer(context, prompts, Logits(context, self._stop, on_device))
        self._loaded = _Loaded(context, prompts, scorer, opened.binding, on_device)
        # Threads that wait for a device look as if other programs had taken their cores.
        fixed = choices.threads_fixed or on_device
        self._governor = ThreadGovernor(choices.threads, fixed=fixed)
        self._told_threads = choices.threads
        return EngineInfo(
            engine="llama.cpp",
            backend=opened.backend,
            build=binding.build(),
            model_paths=tuple(os.path.realpath(each) for each in file.paths),
            n_ctx=context.n_ctx,
            n_ctx_train=context.n_ctx_train,
            threads=choices.threads,
            threads_fixed=fixed,
            flash_attention=choices.flash_attention,
            repacked=log.placement.repacked,
            has_template=prompts.has_template,
            pid=os.getpid(),
            notices=opened.notices,
            kv_type=choices.kv_type,
            adapters=options.adapters,
            capabilities=("snapshots", "schema", "lora", "scores"),
            unbounded=context.unbounded,
            thinking=prompts.thinking,
            mapped=log.placement.mapped,
            vocabulary=context.vocabulary(),
            offload=opened.offload,
        )

    def count_tokens(self, prompt: Prompt) -> PromptTokens:
        return self._model().prompts.count(prompt)

    def generate(self, request: GenerationRequest) -> Iterator[GenerationEvent]:
        start = time.monotonic()
        model = self._model()
        context = model.context
        self._stop.clear()
        read = model.prompts.read(request.prompt)
        ids = read.ids
        model.prompts.check_fits(ids)
        sampler, notices = make_sampler(self._lib, context, request, ids)
        try:
            yield from (*read.notices, *notices)
            if not request.reuse:
                self._kept.drop(context)
            cached, miss = self._kept.reuse(context, ids)
            if miss:
                yield miss
            self._kept.remember_prompt(ids, read.rendered)
            room = None if context.unbounded else context.n_ctx - len(ids)
            run = Run(request, len(ids), cached, start, room)
            context.set_threads(self._governor.begin(idle_s=start - self._last_used))
            try:
                yield from self._prefill(context, ids[cached:], run)
                if not run.finish:
                    yield from self._decode(context, sampler, run)
            finally:
                self._kept.remember_reply(run.reply_ids(), run.reply_text())
                self._last_used = time.monotonic()
        finally:
            sampler.close()
        yield run.done(self._governor.settled, context.n_ctx)

    def cancel(self) -> None:
        self._stop.set()

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.context.close()
        self._loaded = None
        self._kept.forget()

    def tokenize(self, prompt: Prompt) -> PromptIds:
        return self._model().scorer.tokenize(prompt)

    def score(self, request: ScoreRequest) -> Iterator[ScoreEvent]:
        model = self._model()
        self._stop.clear()
        self._kept.drop(model.context)
        yield from model.scorer.score(request)

    # The state, to and from a file

    def state_bytes(self) -> int:
        model = self._model()
        sizes = model.context.state_sizes()
        unhashed = of_model(model.binding, "0" * 64)
        return statefile.size_of(unhashed, self._kept.as_text(), sizes) if sizes else 0

    def save_state(self, path: Path, model_sha256: str) -> int:
        model = self._model()
        states = model.context.state()
        if not states:
            return 0
        bound = of_model(model.binding, model_sha256)
        return statefile.write(path, bound, self._kept.as_text(), states)

    def restore_state(self, path: Path, model_sha256: str) -> int:
        model = self._model()
        kept, states = statefile.read(path, of_model(model.binding, model_sha256))
        self._kept.forget()
        # It evaluates once, and nothing is known of the load: threads that find a core taken wait
        # for each other, seconds a token.
        model.context.set_threads(1)
        try:
            taken = model.context.take_state(states)
        finally:
            model.context.set_threads(self._governor.threads)
        if not taken:
            raise errors.StateRefused(
                "the saved state of this conversation is not used: llama.cpp does not take it",
                hint="The conversation is read again, which takes longer once.",
            )
        self._kept.take_up(kept)
        return model.context.evaluated

    def _model(self) -> _Loaded:
        if self._loaded is None:
            raise errors.EngineClosed("no model is loaded", hint="Load one first.")
        return self._loaded

    # Prefill

    def _prefill(self, context: Context, ids: list[int], run: Run) -> Iterator[GenerationEvent]:
        begin = time.monotonic()
        yield PrefillProgress(0, len(ids), run.cached, 0.0)
        done, held = 0, context.evaluated
        probe = PROBE if self._governor.adapts and len(ids) > 4 * PROBE else 0
        pace = Pace(context.batch, self._model().on_device)
        try:
            for batch in batches(ids, pace, probe, context.needs_snapshots):
                if context.needs_snapshots and done + 1 == len(ids):
                    context.take_snapshot()
                started = time.monotonic()
                if self._timed_step(context, batch, run, self._governor.observe_prompt):
                    return
                if pace.on_device:
                    context.wait()
                    pace.observe(len(batch), time.monotonic() - started)
                done += len(batch)
                if done < len(ids):
                    yield PrefillProgress(done, len(ids), run.cached, time.monotonic() - begin)
            context.wait()
        finally:  # of a batch that was stopped, what is in the state was evaluated
            run.prefill_s = time.monotonic() - begin
            run.unread = len(ids) - max(done, context.evaluated - held)
        yield PrefillProgress(done, len(ids), run.cached, run.prefill_s)
        yield from self._thread_notice()

    def _step(self, context: Context, ids: list[int], run: Run) -> bool:
        """Evaluate; True when the run ends here."""
        stopped = self._stop.ended(context.evaluate(ids))
        if stopped:
            run.finish = "cancelled"
        return stopped

    # Decode

    def _decode(
        self, context: Context, sampler: TokenSource, run: Run
    ) -> Iterator[GenerationEvent]:
        def sample() -> int:
            return sampler.sample(context.handle)

        def evaluate(token: int) -> bool:
            return not self._timed_step(context, [token], run, self._governor.observe)

        return decode(run, context, sample, evaluate, self._thread_notice)

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
