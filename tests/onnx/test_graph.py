"""The bounded reader of ONNX graphs finds what the reference reader finds, and meets any bytes."""

from __future__ import annotations

import random
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_folder import Shape, write_tiny

from ondevice.errors import NotAModelFile
from ondevice.onnx.graph import External, read_graph


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("graph") / "tiny", Shape(n_layers=3)) / "model.onnx"


def outside(name: str, location: str) -> onnx.TensorProto:
    """A tensor whose data stands in `location`."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def part(number: int, data: bytes) -> bytes:
    """A field of a message that has a length."""
    length = len(data)
    return (
        bytes([number << 3 | 2, length & 127 | 128, length >> 7 & 127 | 128, length >> 14]) + data
    )


def varint(value: int, most: int = 0) -> bytes:
    """Seven bits a byte, the lowest first; filled up to `most` bytes."""
    data = bytearray()
    while value >= 128 or len(data) + 1 < most:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def problem_of(path: Path) -> str:
    """What is wrong with it, or nothing."""
    try:
        read_graph(path)
    except NotAModelFile as error:
        return error.message
    return ""


def test_externals_and_inputs_are_those_of_the_reference_reader(tiny: Path) -> None:
    model = onnx.load_model(str(tiny), load_external_data=False)
    expected = []
    for tensor in model.graph.initializer:
        named = {entry.key: entry.value for entry in tensor.external_data}
        if named:
            offset, length = int(named.get("offset", 0)), int(named["length"])
            expected.append(External(named["location"], offset, length))
    found = read_graph(tiny)
    assert found.externals == expected
    assert found.externals
    assert found.inputs == {
        each.name: each.type.tensor_type.elem_type for each in model.graph.input
    }


def test_a_tensor_outside_is_found_wherever_it_stands(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["a"], value=outside("t", "in a node"))
    inner = helper.make_graph([constant], "inner", [], [], [outside("u", "in an inner graph")])
    branch = helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    sparse = onnx.SparseTensorProto(values=outside("s", "in a sparse tensor"), dims=[1])
    graph = helper.make_graph([branch], "outer", [], [], sparse_initializer=[sparse])
    function = onnx.FunctionProto(
        name="f",
        domain="mine",
        node=[
            helper.make_node("Constant", [], ["a"], value=outside("f", "in a function")),
        ],
    )
    model = helper.make_model(graph, functions=[function])
    found = read_graph(saved(tmp_path / "m.onnx", model))
    assert {each.location for each in found.externals} == {
        "in a node",
        "in an inner graph",
        "in a sparse tensor",
        "in a function",
    }


@pytest.mark.parametrize(("key", "value"), [("offset", "-5"), ("length", "many"), ("location", "")])
def test_a_tensor_that_stands_nowhere_is_refused(tmp_path: Path, key: str, value: str) -> None:
    tensor = outside("t", "file")
    entries = {entry.key: entry.value for entry in tensor.external_data} | {key: value}
    del tensor.external_data[:]
    for name, text in entries.items():
        tensor.external_data.add(key=name, value=text)
    model = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(NotAModelFile, match="a tensor stands "):
        read_graph(saved(tmp_path / "m.onnx", model))


def test_graphs_in_graphs_are_not_followed_for_ever(tmp_path: Path) -> None:
    graph = b""
    for _ in range(40):  # deeper than the reference library itself would write
        graph = part(1, part(5, part(6, graph)))
    path = tmp_path / "m.onnx"
    path.write_bytes(part(7, graph))
    with pytest.raises(NotAModelFile, match="nested too deep"):
        read_graph(path)


GRAPH = 7 << 3 | 2


@pytest.mark.parametrize(
    ("tag", "length_bytes", "why"),
    [
        (varint(GRAPH + (1 << 32)), 0, "a number is too large"),
        (varint(GRAPH, most=6), 0, "a number is too large"),
        (varint(GRAPH), 6, "a number is too large"),
        (varint(2), 0, "it is no ONNX model"),
    ],
    ids=["a tag of 33 bits", "a tag of 6 bytes", "a length of 6 bytes", "no number"],
)
def test_a_field_that_another_reader_takes_for_another_is_refused(
    tmp_path: Path, tag: bytes, length_bytes: int, why: str
) -> None:
    """Protobuf's own cuts a tag off at 32 bits, so there it would be the graph."""
    graph = helper.make_graph([], "g", [], [], [outside("t", "file")]).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(tag + varint(len(graph), length_bytes) + graph)
    with pytest.raises(NotAModelFile, match=why):
        read_graph(path)


def test_changed_and_cut_files_are_an_answer_or_an_error_on_one_line(
    tiny: Path, tmp_path: Path
) -> None:
    draw, data, path = random.Random(3), tiny.read_bytes(), tmp_path / "m.onnx"
    problems = []
    for _ in range(400):
        broken = bytearray(data[: draw.choice([len(data), draw.randrange(1, len(data))])])
        for _ in range(draw.choice([0, 1, 8])):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(broken)
        problems.append(problem_of(path))
    assert all(problem.isprintable() for problem in problems)
    assert 50 < sum(map(bool, problems)) < 400
