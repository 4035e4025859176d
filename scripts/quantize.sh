#!/usr/bin/env bash
# Make quantized forms of a model, for llama.cpp and for ONNX Runtime GenAI.
#
#   scripts/quantize.sh INPUT OUTPUT TYPE...
#
#   INPUT    a GGUF file, best of high precision, or a Hugging Face folder with safetensors
#   OUTPUT   the folder that gets the results
#   TYPE     Q4_0 Q4_K_M Q5_K_M Q6_K Q8_0 IQ4_XS   a GGUF file, by llama.cpp's own quantizer
#            onnx-int4                             a folder, by the builder of onnxruntime-genai
#
#   IMATRIX=FILE   an importance matrix (GGUF) for llama.cpp's types
#   PYTHON=FILE    the Python that ondevice is installed for (.venv/bin/python)
#   TOOLS=FOLDER   where torch, transformers and llama.cpp's converter are kept (.tools); they are
#                  installed there when first needed, about 1.5 GB
#
# A result is written beside its place and renamed when it is whole. So after a failure or a kill the
# same command goes on: what is whole stays, what was begun is made anew.
set -euo pipefail
shopt -s inherit_errexit # without it, what fails inside of $(...) is passed over
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${PYTHON:-$root/.venv/bin/python}"
tools="${TOOLS:-$root/.tools}"
gguf_types=(Q4_0 Q4_K_M Q5_K_M Q6_K Q8_0 IQ4_XS)

fail() { echo "quantize: $1" >&2; exit 1; }
say() { echo "== $*" >&2; }
run() { echo "   $*" >&2; "$@"; }

[[ $# -ge 3 ]] || { sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2; }
input="$(realpath "$1")" || fail "there is no $1"
output="$(realpath -m "$2")"
shift 2
for type in "$@"; do
    [[ "$type" == onnx-int4 || " ${gguf_types[*]} " == *" $type "* ]] ||
        fail "$type is none of: ${gguf_types[*]} onnx-int4"
done
[[ -f "$input" || -f "$input/config.json" ]] || fail "$1 is neither a file nor a model folder"
[[ -x "$python" ]] || fail "$python is missing; \`make install\` makes it"
mkdir -p "$output"
exec 9> "$output/.lock"
flock -n 9 || fail "another run works in $output"
name="$(basename "$input" .gguf | sed -E 's/[.-](I?Q[0-9][A-Za-z0-9_]*|B?[Ff](16|32)|BF16)$//')"
work="$output/.begun"
rm -rf "$work" # what a killed run left
mkdir "$work"
trap 'rm -rf "$work"' EXIT

# A folder is first a GGUF of float16, as large as INPUT; a result of Q8_0 is twice an INPUT of Q4_0.
# For ONNX the largest thing made on the way is the model in float32.
times=1
for type in "$@"; do
    if [[ "$type" == onnx-int4 ]]; then (( times += 9 )); else (( times += 2 )); fi
done
needed=$(( $(du -sbL "$input" | cut -f1) * times ))
free=$(df --output=avail -B1 "$output" | tail -1)
(( free > needed )) || fail "$output has $free bytes free; this may take $needed"

tool_python() { # the environment of torch, made where it is missing
    if [[ ! -e "$tools/.installed" ]]; then
        say "installing torch and transformers into $tools"
        run "$python" -m venv "$tools" >&2
        run "$tools/bin/python" -m pip install --quiet -r "$root/scripts/quantize-requirements.txt" >&2
        touch "$tools/.installed"
    fi
    echo "$tools/bin/python"
}

converter() { # llama.cpp's own, out of the source package of llama-cpp-python
    local version sources begun="$tools/.begun"
    version="$("$python" -c 'from importlib.metadata import version; print(version("llama-cpp-python"))')"
    sources="$tools/llama_cpp_python-$version"
    if [[ ! -d "$sources" ]]; then
        run "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-python \
            --no-build-isolation -d "$work" "llama-cpp-python==$version" >&2
        rm -rf "$begun"
        mkdir "$begun"
        tar xzf "$work/llama_cpp_python-$version.tar.gz" -C "$begun" >&2
        mv "$begun/llama_cpp_python-$version" "$sources"
        rmdir "$begun"
    fi
    echo "$sources/vendor/llama.cpp/convert_hf_to_gguf.py"
}

as_gguf() { # INPUT as a GGUF file; a folder is converted to float16 once
    if [[ -f "$input" ]]; then echo "$input"; return; fi
    local whole="$work/$name-F16.gguf" tool script
    if [[ ! -e "$whole" ]]; then
        tool="$(tool_python)"
        script="$(converter)"
        run "$tool" "$script" "$input" --outtype f16 --outfile "$whole" >&2
    fi
    echo "$whole"
}

as_folder() { # INPUT as a Hugging Face folder; a GGUF file is taken apart
    if [[ -d "$input" ]]; then echo "$input"; return; fi
    local tool
    tool="$(tool_python)"
    HF_HUB_OFFLINE=1 run "$tool" "$root/scripts/quantize.py" folder "$input" "$work/folder" >&2
    echo "$work/folder"
}

make_gguf() { # TYPE RESULT
    local source
    source="$(as_gguf)"
    run "$python" "$root/scripts/quantize.py" gguf "$source" "$work/made" "$1" ${IMATRIX:+"$IMATRIX"} >&2
    mv "$work/made" "$2"
}

make_onnx() { # RESULT
    local source tool
    source="$(as_folder)"
    tool="$(tool_python)"
    HF_HUB_OFFLINE=1 ORT_DISABLE_TELEMETRY=1 run "$tool" -m onnxruntime_genai.models.builder \
        -i "$source" -o "$work/made" -p int4 -e cpu -c "$work/cache" \
        --extra_options hf_token=false >&2
    mv "$work/made" "$1"
}

results=()
for type in "$@"; do
    if [[ "$type" == onnx-int4 ]]; then result="$output/$name-onnx-int4"; else result="$output/$name-$type.gguf"; fi
    results+=("$result")
    if [[ -e "$result" ]]; then
        say "$type is there: $result"
        continue
    fi
    say "$type"
    if [[ "$type" == onnx-int4 ]]; then make_onnx "$result"; else make_gguf "$type" "$result"; fi
done
say "measuring"
"$python" "$root/scripts/quantize.py" table "$(as_gguf)" "${results[@]}"
