"""A loaded model and its generator: tokens, evaluation, and going back.

The generator is kept between requests, and with it the state of the evaluated ids. A plain cache
is cut back; where the library cannot (some sliding windows), a new generator starts from nothing.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ondevice import errors
from ondevice.domain.text import clean_line
from ondevice.engines.onnx.binding import Library, NativeError
from ondevice.engines.onnx.vocabulary import Vocabulary
from ondevice.onnx import chat
from ondevice.onnx import folder as folders
from ondevice.onnx.folder import ModelFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOAT, HALF = 1, 10
"""OgaElementType_float32 and _float16."""


class Context:
    """Owns a model, its tokenizer and one generator. Only `stop` is safe from another thread."""

    unbounded = False

    def __init__(self, lib: Library, model: Any, folder: ModelFolder, n_ctx: int) -> None:
        """Raises NativeError or NotAModelFile; `model` is then still the caller's."""
        self._lib, self._model, self._folder = lib, model, folder
        self.n_ctx, self.n_ctx_train = n_ctx, folder.config.context
        self._vocabulary = Vocabulary(folders.read_bytes(folder.path, folders.TOKENIZER))
        self._ends = frozenset(folder.config.end_tokens)
        self._begin_and_end = chat.begin_and_end(folder.path)
        self._tokenizer = lib.make("OgaCreateTokenizer", model)
        self._adds_begin: bool | None = None
        self._generator: Any = None
        self._running = threading.Lock()
        """Held for a moment, so that a late stop meets no generator that is gone."""
        self._stopped = False
        self.evaluated = 0
        """How many ids the state stands for."""
        self._read = 0
        """How many of them the last evaluation read."""
        self._one = (ctypes.c_int32 * 1)()
        self._renew()

    # Tokens

    def tokenize(self, text: str, add_begin: bool) -> list[int]:
        """Ids of `text`; special tokens in it are recognised. Raises EngineTrouble."""
        lib = self._lib
        if add_begin != self._adds_begin:
            self._let_begin(add_begin)
        ids: list[int] = []
        # the library ends a text at its first NUL; it stands for no token of its own
        data = text.encode("utf-8", "replace").replace(b"\0", "\ufffd".encode())
        with _owned(lib, lib.make("OgaCreateSequences"), "OgaDestroySequences") as sequences:
            try:
                lib.call("OgaTokenizerEncode", self._tokenizer, data, sequences)
            except NativeError as error:
                raise _trouble("tokenize the prompt", error) from None
            count = lib.plain("OgaSequencesGetSequenceCount", sequences, 0)
            if count:
                ids = lib.plain("OgaSequencesGetSequenceData", sequences, 0)[:count]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocabulary():
            raise errors.EngineTrouble(
                "the tokenizer of this folder makes ids that the model has not",
                hint="The folder may be damaged; fetch it again.",
            )
        return ids

    def _let_begin(self, add: bool) -> None:
        keys = (ctypes.c_char_p * 1)(b"add_special_tokens")
        values = (ctypes.c_char_p * 1)(b"true" if add else b"false")
        with suppress(NativeError):  # a tokenizer without the option adds none
            self._lib.call("OgaUpdateTokenizerOptions", self._tokenizer, keys, values, 1)
        self._adds_begin = add

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes of one token; control tokens are empty unless `special`."""
        return self._vocabulary.piece(token, special)

    def is_special(self, token: int) -> bool:
        """Whether text never merges with it."""
        return self._vocabulary.is_special(token)

    def is_end(self, token: int) -> bool:
        """Whether the model says with it that it is done."""
        return token in self._ends

    def begin_and_end(self) -> tuple[str, str]:
        """Text of the begin and end tokens, for templates; empty where there is none."""
        return self._begin_and_end

    def template(self) -> str | None:
        """The chat template that came with the model."""
        return chat.template(self._folder.path)

    def vocabulary(self) -> int:
        """How many ids there are."""
        return self._folder.config.vocabulary

    # Evaluation

    def evaluate(self, ids: Sequence[int]) -> bool:
        """Evaluate at most a batch of ids after those already held; False where it was stopped.

        Raises EngineTrouble.
        """
        if len(ids) == 1:
            self._one[0] = ids[0]
            array: Any = self._one
        else:
            array = (ctypes.c_int32 * len(ids))(*ids)
        try:
            self._lib.call("OgaGenerator_AppendTokens", self._generator, array, len(ids))
        except NativeError as error:
            stopped = self._stopped
            self._go_on()
            self.rewind(self.evaluated, whole=False)
            if stopped:
                return False
            raise _trouble("evaluate the tokens", error) from None
        self.evaluated += len(ids)
        self._read = len(ids)
        return not self._stopped

    def logits(self) -> NDArray[Any]:
        """A copy of those of the last evaluated id. Raises EngineTrouble."""
        rows = self._rows("OgaGenerator_GetLogits")
        if len(rows) != 1:
            raise _trouble("read the logits", NativeError("they are of another form"))
        row: NDArray[Any] = rows[0]
        return row

    def all_logits(self) -> NDArray[Any]:
        """A copy of those of each id of the last evaluation, (ids, vocabulary), as the model made
        them. Raises EngineTrouble; a graph may compute those of the last id alone."""
        name = self._folder.config.logits_output.encode("utf-8", "replace")
        rows = self._rows("OgaGenerator_GetOutput", name)
        if rows.shape != (self._read, self.vocabulary()):
            said = "this graph gives those of the last token alone"
            raise _trouble("read the logits of every token", NativeError(said))
        return rows

    def _rows(self, function: str, *arguments: Any) -> NDArray[Any]:
        """A copy of the tensor that `function` gives, (rows, numbers), in float32."""
        import numpy as np  # deferred: loading a model has it, importing this file has not

        lib = self._lib
        try:
            handle = lib.make(function, self._generator, *arguments)
            with _owned(lib, handle, "OgaDestroyTensor") as tensor:
                kind, shape = self._form(tensor)
                width, count = {FLOAT: 4, HALF: 2}.get(kind), math.prod(shape)
                if width is None or not count:
                    raise NativeError("they are of another form")
                data = lib.make("OgaTensorGetData", tensor)
                raw = (ctypes.c_uint8 * (width * count)).from_address(data.value or 0)
                numbers = np.ctypeslib.as_array(raw).view(f"f{width}")
                rows: NDArray[Any] = numbers.reshape(-1, shape[-1]).astype(np.float32)
                return rows
        except NativeError as error:
            raise _trouble("read the logits", error) from None

    def _form(self, tensor: Any) -> tuple[int, list[int]]:
        """The type of its numbers, and its shape. Raises NativeError."""
        kind, rank = ctypes.c_int32(), ctypes.c_size_t()
        self._lib.call("OgaTensorGetType", tensor, ctypes.byref(kind))
        self._lib.call("OgaTensorGetShapeRank", tensor, ctypes.byref(rank))
        shape = (ctypes.c_int64 * rank.value)()
        self._lib.call("OgaTensorGetShape", tensor, shape, rank.value)
        return kind.value, list(shape)

    def stop(self) -> None:
        """Let what is being evaluated end; safe from any thread."""
        with self._running:
            self._stopped = True
            if self._generator is not None:
                self._terminate(b"1")

    def let_go(self) -> None:
        """A new request: an older stop is not meant for it."""
        if self._stopped:
            self._go_on()

    def _go_on(self) -> None:
        with self._running:
            self._stopped = False
            if self._generator is not None:
                self._terminate(b"0")

    def _terminate(self, value: bytes) -> None:
        with suppress(NativeError):
            self._lib.call(
                "OgaGenerator_SetRuntimeOption", self._generator, b"terminate_session", value
            )

    # Going back

    def rewind(self, to: int, whole: bool = True) -> int:
        """Make the state that of the first `to` ids, or of none; how many it is then.

        Without `whole`, ids may have been begun after them.
        """
        if whole and to == self.evaluated:
            return to
        try:
            self._lib.call("OgaGenerator_RewindTo", self._generator, to)
            self.evaluated = to
        except NativeError:
            self._renew()
        return self.evaluated

    def _renew(self) -> None:
        """A generator of nothing. Raises NativeError."""
        lib = self._lib
        self._drop_generator()
        made = lib.make("OgaCreateGeneratorParams", self._model)
        with _owned(lib, made, "OgaDestroyGeneratorParams") as params:
            numbers = {"max_length": self.n_ctx, "num_beams": 1, "batch_size": 1, "min_length": 0}
            for name, value in numbers.items():
                lib.call("OgaGeneratorParamsSetSearchNumber", params, name.encode(), value)
            lib.call("OgaGeneratorParamsSetSearchBool", params, b"do_sample", False)
            generator = lib.make("OgaCreateGenerator", self._model, params)
        with self._running:
            self._generator = generator
        self.evaluated = 0

    def _drop_generator(self) -> None:
        with self._running:
            generator, self._generator = self._generator, None
        if generator is not None:
            self._lib.plain("OgaDestroyGenerator", generator)

    def close(self) -> None:
        """Free the generator, the tokenizer, then the model."""
        if self._model is not None:
            self._drop_generator()
            self._lib.plain("OgaDestroyTokenizer", self._tokenizer)
            self._lib.plain("OgaDestroyModel", self._model)
            self._model = None


@contextmanager
def _owned(lib: Library, handle: Any, destroy: str) -> Iterator[Any]:
    try:
        yield handle
    finally:
        lib.plain(destroy, handle)


def _trouble(doing: str, error: NativeError) -> errors.EngineTrouble:
    said = clean_line(str(error), 200)
    return errors.EngineTrouble(f"ONNX Runtime could not {doing}: {said}")
