"""A loaded model and its context: tokens, evaluation, and going back.

State    what the context holds for the evaluated ids: KV cache, or recurrent state
rewind   make the state that of a shorter prefix. Plain attention is cut; sliding windows,
         recurrent and hybrid models cannot be cut back, only restored from a snapshot
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ondevice.domain.layout import BATCH, SNAPSHOT_BYTES, SNAPSHOTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHOLE_STATE = 0
PARTIAL_STATE = 1
"""LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: only what cannot be cut back."""
_SPECIAL = 1 << 3 | 1 << 4
"""LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED"""


class Context:
    """Owns a llama_model and a llama_context; not safe for use from two threads."""

    def __init__(self, lib: Any, model: Any, context: Any) -> None:
        self._lib, self._model, self.handle = lib, model, context
        self.vocab = lib.llama_model_get_vocab(model)
        self._memory = lib.llama_get_memory(context)
        self._pieces: dict[int, bytes] = {}
        self._buffer = ctypes.create_string_buffer(256)
        self._one = (ctypes.c_int32 * 1)()
        self._one_batch = lib.llama_batch_get_one(self._one, 1)
        self._snapshots: list[tuple[int, bytes]] = []
        self.n_ctx: int = lib.llama_n_ctx(context)
        self.batch: int = min(BATCH, lib.llama_n_batch(context))
        """Tokens of one evaluation; llama.cpp makes it no larger than n_ctx."""
        self.n_ctx_train: int = lib.llama_model_n_ctx_train(model)
        self._n_swa: int = lib.llama_model_n_swa(model)
        recurrent = lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model)
        self.cuttable: bool = not recurrent
        self.unbounded: bool = bool(lib.llama_model_is_recurrent(model))
        """A recurrent state does not grow, so n_ctx bounds nothing."""
        self.evaluated = 0
        """How many ids the state stands for."""

    # Tokens

    def tokenize(self, text: str, add_begin: bool) -> list[int]:
        """Ids of `text`; special tokens in it are recognised."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        ids = (ctypes.c_int32 * room)()
        found = self._lib.llama_tokenize(self.vocab, data, len(data), ids, room, add_begin, True)
        if found < 0:
            room = -found
            ids = (ctypes.c_int32 * room)()
            found = self._lib.llama_tokenize(
                self.vocab, data, len(data), ids, room, add_begin, True
            )
        return list(ids[:found])

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes of one token; control tokens are empty unless `special`."""
        known = self._pieces.get(token) if not special else None
        if known is not None:
            return known
        length = self._lib.llama_token_to_piece(
            self.vocab, token, self._buffer, len(self._buffer), 0, special
        )
        if length < 0:
            self._buffer = ctypes.create_string_buffer(-length)
            return self.piece(token, special)
        data = self._buffer.raw[:length]
        if not special:
            self._pieces[token] = data
        return data

    def is_special(self, token: int) -> bool:
        """Whether it is a control or user-defined token, which text never merges with."""
        return bool(self._lib.llama_vocab_get_attr(self.vocab, token) & _SPECIAL)

    def is_end(self, token: int) -> bool:
        """Whether the model says with it that it is done."""
        return bool(self._lib.llama_vocab_is_eog(self.vocab, token))

    def begin_and_end(self) -> tuple[str, str]:
        """Text of the begin and end tokens, for templates; empty where there is none."""
        tokens = (self._lib.llama_vocab_bos(self.vocab), self._lib.llama_vocab_eos(self.vocab))
        begin, end = (
            self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
            for token in tokens
        )
        return begin, end

    def template(self) -> str | None:
        """The chat template of the model file."""
        source = self._lib.llama_model_chat_template(self._model, None)
        return source.decode("utf-8", "replace") if source else None

    def vocabulary(self) -> int:
        """How many ids there are."""
        size: int = self._lib.llama_vocab_n_tokens(self.vocab)
        return size

    # Evaluation

    def evaluate(self, ids: Sequence[int], all_logits: bool = False) -> int:
        """Evaluate at most `batch` ids after those already held; llama_decode's answer.

        `all_logits` keeps the logits of each of them for `logits`, not of the last one alone.
        """
        if len(ids) == 1:
            self._one[0] = ids[0]
            answer: int = self._lib.llama_decode(self.handle, self._one_batch)
        else:
            array = (ctypes.c_int32 * len(ids))(*ids)
            batch = self._lib.llama_batch_get_one(array, len(ids))
            if all_logits:
                batch.logits = (ctypes.c_int8 * len(ids))(*[1] * len(ids))
            answer = self._lib.llama_decode(self.handle, batch)
        if answer == 0:
            self.evaluated += len(ids)
        elif self.cuttable:  # after an abort some micro-batches stay in the state
            self.evaluated = self._lib.llama_memory_seq_pos_max(self._memory, 0) + 1
        else:  # some layers of a recurrent state may have moved on, and cannot go back
            self.evaluated = self._restore() or self._clear()
        return answer

    def logits(self, count: int) -> NDArray[Any]:
        """Those of the last evaluation, (count, vocabulary); they last until the next one."""
        import numpy as np  # deferred: 100 ms, only who scores needs it

        rows = self._lib.llama_get_logits(self.handle)
        found: NDArray[Any] = np.ctypeslib.as_array(rows, shape=(count, self.vocabulary()))
        return found

    def wait(self) -> None:
        """Until the logits of the last evaluation are there."""
        self._lib.llama_synchronize(self.handle)

    def set_threads(self, threads: int) -> None:
        self._lib.llama_set_n_threads(self.handle, threads, threads)

    # Going back

    @property
    def needs_snapshots(self) -> bool:
        """Whether going back needs a snapshot taken before."""
        return not self.cuttable or self._n_swa > 0

    def take_snapshot(self) -> None:
        """Remember the state as it is; the oldest ones make room."""
        if self.evaluated == 0:
            return
        size = self._lib.llama_state_seq_get_size_ext(self.handle, 0, PARTIAL_STATE)
        if not 0 < size <= SNAPSHOT_BYTES // 2:
            return
        buffer = (ctypes.c_uint8 * size)()
        used = self._lib.llama_state_seq_get_data_ext(self.handle, buffer, size, 0, PARTIAL_STATE)
        if used != size:
            return
        self._snapshots = [kept for kept in self._snapshots if kept[0] != self.evaluated]
        self._snapshots.append((self.evaluated, bytes(buffer)))
        while (
            len(self._snapshots) > SNAPSHOTS
            or sum(len(data) for _, data in self._snapshots) > SNAPSHOT_BYTES
        ):
            self._snapshots.pop(0)

    def rewind(self, to: int) -> int:
        """Make the state that of the first `to` ids, or of fewer; how many it is then."""
        self._snapshots = [kept for kept in self._snapshots if kept[0] <= to]
        if to < self.evaluated:
            self.evaluated = self._cut(to) or self._restore() or self._clear()
        return self.evaluated

    def _cut(self, to: int) -> int:
        window_start = max(0, to - self._n_swa) if self._n_swa else 0
        held_from = self._lib.llama_memory_seq_pos_min(self._memory, 0)
        if not self.cuttable or held_from > window_start:
            return 0
        return to if self._lib.llama_memory_seq_rm(self._memory, 0, to, -1) else 0

    def _restore(self) -> int:
        if not self._snapshots:
            return 0
        count, data = self._snapshots[-1]
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        read = self._lib.llama_state_seq_set_data_ext(
            self.handle, buffer, len(data), 0, PARTIAL_STATE
        )
        if read == 0 or not self._lib.llama_memory_seq_rm(self._memory, 0, count, -1):
            return 0
        return count

    def _clear(self) -> int:
        self._lib.llama_memory_clear(self._memory, True)
        self._snapshots.clear()
        return 0

    # To and from a file

    def state_sizes(self) -> list[tuple[int, int]]:
        """(ids, bytes) of the state and then of each snapshot; empty where nothing is held."""
        if self.evaluated == 0:
            return []
        whole = self._lib.llama_state_seq_get_size_ext(self.handle, 0, WHOLE_STATE)
        return [
            (self.evaluated, whole),
            *((count, len(data)) for count, data in self._snapshots),
        ]

    def state(self) -> list[tuple[int, memoryview]]:
        """(ids, data) of the state and then of each snapshot."""
        sizes = self.state_sizes()
        if not sizes:
            return []
        buffer = (ctypes.c_uint8 * sizes[0][1])()
        used = self._lib.llama_state_seq_get_data_ext(
            self.handle, buffer, len(buffer), 0, WHOLE_STATE
        )
        whole = memoryview(buffer).cast("B")[:used]
        return [
            (self.evaluated, whole),
            *((count, memoryview(data)) for count, data in self._snapshots),
        ]

    def take_state(self, states: Sequence[tuple[int, bytearray]]) -> bool:
        """Hold what `state` gave; False, and nothing is held, where llama.cpp refuses it.

        It checks hardly anything, so this is only for bytes that this very build wrote.
        """
        if self.evaluated == 0:  # a fresh process has no page of the weights yet: fetch them now,
            self.evaluate([0, 0])  # while nobody waits for a token
        self.evaluated = self._clear()
        (count, whole), *snapshots = states
        buffer = (ctypes.c_uint8 * len(whole)).from_buffer(whole)
        read = self._lib.llama_state_seq_set_data_ext(
            self.handle, buffer, len(whole), 0, WHOLE_STATE
        )
        held = self._lib.llama_memory_seq_pos_max(self._memory, 0) + 1
        if read != len(whole) or held != count:
            self._clear()
            return False
        self.evaluated = count
        self._snapshots = [(count, bytes(data)) for count, data in snapshots]
        return True

    def close(self) -> None:
        """Free the context, then the model."""
        if self.handle is not None:
            self._lib.llama_free(self.handle)
            self._lib.llama_model_free(self._model)
            self.handle = self._model = None
