"""What a cgroup leaves of the machine's memory, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ondevice.hardware import system


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


V2 = {
    "memory.max": "3000",
    "memory.current": "2500",
    "memory.stat": "anon 700\ninactive_file 900\n",
}
V1 = {
    "memory.limit_in_bytes": "4000",
    "memory.usage_in_bytes": "1500",
    "memory.stat": "inactive_file 1\ntotal_active_file 300\ntotal_inactive_file 200\n",
}
NONE = {"memory.max": "max", "memory.current": "2500", "memory.stat": "anon 700\n"}


def under(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("files", "membership", "found"),
    [
        pytest.param({}, "0::/\n", [], id="no cgroups"),
        pytest.param(NONE, "0::/\n", [], id="v2 without a limit"),
        pytest.param(V2, None, [(3000, 1600)], id="v2 without a membership"),
        pytest.param(V2 | {"memory.max": "x"}, "0::/\n", [], id="v2 that does not read"),
        pytest.param(V2 | {"memory.stat": "a b c"}, "0::/\n", [], id="v2 with a strange line"),
        pytest.param(
            under("a.slice", V2) | under("a.slice/b.service", V2 | {"memory.max": "2800"}),
            "0::/a.slice/b.service\n",
            [(2800, 1600), (3000, 1600)],
            id="v2 of a service and its slice",
        ),
        pytest.param(
            under("a.slice", V2) | under("a.slice/b.service", NONE),
            "0::/a.slice/b.service\n",
            [(3000, 1600)],
            id="v2 of a slice above",
        ),
        pytest.param(
            under("memory/docker/x", V1),
            "9:name=systemd:/\n4:memory:/docker/x\nnonsense\n",
            [(4000, 1000)],
            id="v1 of a container",
        ),
        pytest.param(
            under("memory/docker/x", V1), "4:cpu:/docker/x\n", [], id="v1 of another kind"
        ),
        pytest.param({}, "0::/../outside\n", [], id="a group outside this namespace"),
    ],
)
def test_every_memory_limit_on_the_way_up_is_found(
    tmp_path: Path,
    files: dict[str, str],
    membership: str | None,
    found: list[tuple[int, int]],
) -> None:
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    if membership is not None:
        write(tmp_path / "self", membership)
    groups = system.cgroup_memory(tmp_path / "cgroup", tmp_path / "self")
    assert [(group.limit_bytes, group.used_bytes) for group in groups] == found
