"""Log-probabilities of tokens by other code than ours, in a process of its own.

A GGUF file is read by llama-cpp-python's high-level class, an ONNX graph by ONNX Runtime itself,
without GenAI. Reads {"model", "engine", "windows": [[id, ...], ...]} as JSON, answers the
log-probability of every id of each window but its first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from ondevice.domain.model import ModelFile


def log_probabilities(file: ModelFile, windows: list[list[int]]) -> list[list[float]]:
    """Run this file as a script."""
    question = {"model": str(file.path), "engine": file.engine, "windows": windows}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(question).encode(),
        capture_output=True,
        check=True,
        timeout=90,
    )
    answer: list[list[float]] = json.loads(done.stdout)
    return answer


def by_llama(path: str, windows: list[list[int]]) -> list[Any]:
    from llama_cpp import Llama

    llama = Llama(path, n_ctx=512, logits_all=True, verbose=False)
    logits = []
    for window in windows:
        llama.reset()
        llama.eval(window)
        logits.append(np.array(llama.scores[: len(window)]))
    return logits


def by_onnxruntime(path: str, windows: list[list[int]]) -> list[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{path}/model.onnx", providers=["CPUExecutionProvider"])
    past = [each for each in session.get_inputs() if each.name.startswith("past")]
    logits = []
    for window in windows:
        ids = np.array([window], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        for each in past:
            heads, size = each.shape[1], each.shape[3]
            given[each.name] = np.zeros((1, heads, 0, size), dtype=np.float32)
        logits.append(session.run(["logits"], given)[0][0])
    return logits


def main() -> None:
    question = json.load(sys.stdin)
    compute = by_llama if question["engine"] == "llama.cpp" else by_onnxruntime
    answer = []
    windows = question["windows"]
    for window, logits in zip(windows, compute(question["model"], windows), strict=True):
        wide = np.asarray(logits, dtype=np.longdouble)
        normal = np.log(np.exp(wide - wide.max(axis=1, keepdims=True)).sum(axis=1))
        chosen = wide[np.arange(len(window) - 1), window[1:]] - wide.max(axis=1)[:-1]
        answer.append([float(each) for each in chosen - normal[:-1]])
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
