#!/usr/bin/env bash
# Build llama.cpp for Vulkan in an environment of its own, and run the tests of a GPU with it.
#
#   scripts/vulkan.sh [MAKE]
#
# Without a GPU the tests use llvmpipe, Mesa's software device: every shader runs, on the CPU, at about
# a token a second. It counts as a device only because GGML_VK_VISIBLE_DEVICES names it; set that
# variable to test another one. Packages of the system are not installed but asked for.
set -euo pipefail
shopt -s inherit_errexit
root="$(cd "$(dirname "$0")/.." && pwd)"
make="${1:-make}"
headers="$root/.tools/vulkan-headers"
# Those of Debian 12 are too old for llama.cpp; only headers are taken from this package, nothing of
# it is installed.
deb=libvulkan-dev_1.4.309.0-1_amd64.deb
url="https://deb.debian.org/debian/pool/main/v/vulkan-loader/$deb"
sha256=8d329d465e16168afff58b1bd0dd6db46aac2cc3f56054a481b25a04e90b345a

fail() { echo "vulkan: $1" >&2; exit 1; }
say() { echo "== $*" >&2; }

newest() { # the version of the headers in folder $1; 0 where there are none
    sed -n 's/^#define VK_HEADER_VERSION  *\([0-9]*\).*/\1/p' "$1/vulkan/vulkan_core.h" 2>/dev/null | grep . || echo 0
}

missing=()
[[ -n "$(command -v glslc)" ]] || missing+=(glslc)
[[ -e /usr/include/spirv/unified1/spirv.hpp ]] || missing+=(spirv-headers)
[[ -e /usr/include/vulkan/vulkan.h ]] || missing+=(libvulkan-dev)
compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null || missing+=(mesa-vulkan-drivers)
(( ${#missing[@]} == 0 )) ||
    fail "these packages are missing: ${missing[*]}
  On Debian or Ubuntu: sudo apt-get install ${missing[*]}"

args=()
if (( $(newest /usr/include) < 300 )); then
    if (( $(newest "$headers/usr/include") < 300 )); then
        say "fetching newer headers of Vulkan into $headers"
        mkdir -p "$headers"
        curl --fail --silent --show-error --location --output "$headers/$deb" "$url" ||
            fail "$url could not be fetched; unpack newer headers of Vulkan into $headers/usr/include"
        echo "$sha256  $headers/$deb" | sha256sum --check --quiet ||
            fail "$deb is not the file that was expected"
        dpkg-deb --extract "$headers/$deb" "$headers"
        rm "$headers/$deb"
    fi
    args+=("-DVulkan_INCLUDE_DIR=$headers/usr/include")
fi

cd "$root"
export CMAKE_ARGS="${args[*]:-}" GGML_VK_VISIBLE_DEVICES="${GGML_VK_VISIBLE_DEVICES:-0}"
"$make" --no-print-directory VENV=.venv-vulkan BACKEND=vulkan .venv-vulkan/.developing
say "what is here"
.venv-vulkan/bin/python -m ondevice.cli.main doctor | grep -E 'llama.cpp|gpu' >&2 || true
.venv-vulkan/bin/python -m pytest -m vulkan --timeout 1200 -s -v
