#!/usr/bin/env bash
# Make quantized forms of a model, for llama.cpp and for ONNX Runtime GenAI.
#
#   scripts/quantize.sh INPUT OUTPUT TYPE...
#
#   INPUT    a GGUF file, best of high precision, or a Hugging Face folder with safetensors (or the
#            safetensors file in it). Of a few architectures converting a folder runs Python files that
#            lie in it: take folders from where you would take a program
#   OUTPUT   the folder that gets the results
#   TYPE     Q4_0 Q4_K_M Q5_K_M Q6_K Q8_0 IQ4_XS   a GGUF file, by llama.cpp's own quantizer
#            onnx-int4                             a folder, by the builder of onnxruntime-genai
#
#   IMATRIX=FILE   an importance matrix (GGUF) of this model for llama.cpp's types
#   PYTHON=FILE    the Python that ondevice is installed for (.venv/bin/python)
#   TOOLS=FOLDER   where torch, transformers and llama.cpp's converter are kept (.tools); they are
#                  installed there when first needed
#
# A result is written beside its place and renamed when it is whole. So after a failure or a kill the
# same command goes on: what is whole stays, what was begun is made anew. RESULT.made-of says of which
# files (name, bytes, time of change) a result was made; one of other files is never taken for this.
set -euo pipefail
shopt -s inherit_errexit # without it, what fails inside of $(...) is passed over
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${PYTHON:-$root/.venv/bin/python}"
tools="${TOOLS:-$root/.tools}"
requirements="$root/scripts/quantize-requirements.txt"
tools_bytes=$(( 6 << 30 )) # of what is installed, and of the packages on the way
gguf_types=(Q4_0 Q4_K_M Q5_K_M Q6_K Q8_0 IQ4_XS)

fail() { echo "quantize: $1" >&2; exit 1; }
say() { echo "== $*" >&2; }
show() { echo "   $*" >&2; }
run() {
    show "$@"
    "$@" || fail "that failed, see above; nothing of it is left, and the same command goes on here"
}

[[ $# -ge 3 ]] || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2; }
input="$(realpath -es "$1" 2> /dev/null)" || fail "there is no $1"
output="$(realpath -m "$2")"
given="$1"
shift 2
for type in "$@"; do
    [[ "$type" == onnx-int4 || " ${gguf_types[*]} " == *" $type "* ]] ||
        fail "$type is none of: ${gguf_types[*]} onnx-int4"
done
[[ "$input" != *.safetensors ]] || input="$(dirname "$input")"
[[ -f "$input" || -f "$input/config.json" ]] ||
    fail "$given is no model: a folder of one has a config.json beside its safetensors"
imatrix="${IMATRIX:+$(realpath "$IMATRIX")}"
[[ -z "$imatrix" || -f "$imatrix" ]] || fail "there is no importance matrix $imatrix"
[[ -x "$python" ]] || fail "$python is missing; \`make install\` makes it"
mkdir -p "$output"
exec 9> "$output/.lock"
flock -n 9 || fail "another run works in $output"
work="$output/.begun"
rm -rf "$work" # what a killed run left
mkdir "$work"
trap 'rm -rf "$work"' EXIT

model_name() { # without part and quantization; of a folder in the Hugging Face cache its repository's
    local name="$input"
    if [[ -d "$name" && "$name" == */models--*/snapshots/* ]]; then
        name="${name%/snapshots/*}"
        name="${name##*--}"
    fi
    basename "$name" .gguf | sed -E 's/-[0-9]{5}-of-[0-9]{5}$//; s/[.-](I?Q[0-9][A-Za-z0-9_]*|B?[Ff](16|32)|BF16)$//'
}
name="$(model_name)"

result_of() { # TYPE -> its place
    if [[ "$1" == onnx-int4 ]]; then echo "$output/$name-onnx-int4"; return; fi
    echo "$output/$name${imatrix:+-imatrix}-$1.gguf"
}

noted() { # WHAT FILE... -> a line for each file, by which it is known again
    local what="$1" file
    shift
    for file in "$@"; do
        printf '%s %s %s %s\n' "$what" "$(basename "$file")" $(stat -L --format='%s %.Y' "$file")
    done
}

input_files() { # all that INPUT is read from, one a line
    if [[ -d "$input" ]]; then
        find -L "$input" -maxdepth 1 -type f \
            \( -name '*.safetensors' -o -name '*.bin' -o -name '*.json' -o -name '*.model' \) | LC_ALL=C sort
    elif [[ "$input" =~ ^(.*)-[0-9]{5}-of-([0-9]{5}\.gguf)$ ]]; then
        printf '%s\n' "${BASH_REMATCH[1]}"-?????-of-"${BASH_REMATCH[2]}"
    else
        echo "$input"
    fi
}
mapfile -t files < <(input_files)
of_input="$(noted INPUT "${files[@]}")"
of_matrix="${imatrix:+$(noted IMATRIX "$imatrix")}"

made_of() { # TYPE -> what a result of it is made of, as the file beside it says
    echo "$of_input"
    [[ "$1" == onnx-int4 || -z "$imatrix" ]] || echo "$of_matrix"
}

keep() { # TYPE RESULT: give what was made its name, after the note of what it was made of
    made_of "$1" > "$work/made-of"
    mv "$work/made-of" "$2.made-of"
    mv "$work/made" "$2"
}

need_room() { # FOLDER BYTES
    local free
    free=$(df --output=avail -B1 "$1" | tail -1)
    (( free > $2 )) || fail "$1 has $free bytes free; this may take $2"
}

missing=()
for type in "$@"; do
    result="$(result_of "$type")"
    [[ ! "$result" -ef "$input" ]] || fail "INPUT is $result itself: take another OUTPUT"
    if [[ ! -e "$result" ]]; then
        missing+=("$type")
    elif [[ "$(made_of "$type")" != "$(cat "$result.made-of" 2> /dev/null)" ]]; then
        fail "$result was not made of this INPUT${imatrix:+ and IMATRIX} as it is now, or it is not noted;
  take another OUTPUT, or delete it to have it made anew"
    fi
done
room="$("$python" "$root/scripts/quantize.py" room "$input" "${missing[@]}")"
need_room "$output" "$room"

tool_python() { # the environment of torch, made where it is missing or of another list
    if ! cmp -s "$requirements" "$tools/.installed"; then
        say "installing torch and transformers into $tools"
        mkdir -p "$tools"
        need_room "$tools" "$tools_bytes"
        run "$python" -m venv "$tools" >&2
        run "$tools/bin/python" -m pip install --quiet -r "$requirements" >&2
        cp "$requirements" "$tools/.installed"
    fi
    echo "$tools/bin/python"
}

converter() { # llama.cpp's own, out of the source package of the llama-cpp-python that is installed
    local version sources begun="$tools/.begun"
    version="$("$python" -c 'from importlib.metadata import version; print(version("llama-cpp-python"))')"
    sources="$tools/llama_cpp_python-$version"
    if [[ ! -d "$sources" ]]; then
        rm -rf "$begun"
        mkdir -p "$begun"
        awk -v pinned="llama-cpp-python==$version" '$1 == pinned {found = 1; print; next}
            found && /^ / {print; next} {found = 0}' "$root/requirements.lock" > "$begun/pinned"
        [[ -s "$begun/pinned" ]] || fail "requirements.lock has no hash of llama-cpp-python $version"
        say "fetching the converter of llama.cpp, as llama-cpp-python $version has it"
        run "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-python --require-hashes \
            -d "$begun" -r "$begun/pinned" >&2
        run tar xzf "$begun/llama_cpp_python-$version.tar.gz" -C "$begun" >&2
        mv "$begun/llama_cpp_python-$version" "$sources"
        rm -rf "$begun"
    fi
    echo "$sources/vendor/llama.cpp/convert_hf_to_gguf.py"
}

as_gguf() { # INPUT as a GGUF file; a folder is converted to float16 once
    if [[ -f "$input" ]]; then echo "$input"; return; fi
    local whole="$work/$name-F16.gguf" tool script
    if [[ ! -e "$whole" ]]; then
        tool="$(tool_python)"
        script="$(converter)"
        HF_HUB_OFFLINE=1 run "$tool" "$script" "$input" --outtype f16 --outfile "$work/converted" >&2
        mv "$work/converted" "$whole"
    fi
    echo "$whole"
}

as_folder() { # INPUT as a Hugging Face folder; a GGUF file is taken apart
    if [[ -d "$input" ]]; then echo "$input"; return; fi
    local tool
    tool="$(tool_python)"
    HF_HUB_OFFLINE=1 run "$tool" "$root/scripts/quantize.py" folder "$input" "$work/folder" >&2
    run "$python" "$root/scripts/quantize.py" reads "$input" "$work/folder.ids" >&2
    echo "$work/folder"
}

make_gguf() { # TYPE RESULT
    local source
    source="$(as_gguf)"
    run "$python" "$root/scripts/quantize.py" gguf "$source" "$work/made" "$1" ${imatrix:+"$imatrix"} >&2
    keep "$1" "$2"
}

make_onnx() { # RESULT
    local source tool
    source="$(as_folder)"
    tool="$(tool_python)"
    HF_HUB_OFFLINE=1 ORT_DISABLE_TELEMETRY=1 run "$tool" -m onnxruntime_genai.models.builder \
        -i "$source" -o "$work/made" -p int4 -e cpu -c "$work/cache" \
        --extra_options hf_token=false >&2
    keep onnx-int4 "$1"
}

results=()
for type in "$@"; do
    result="$(result_of "$type")"
    results+=("$result")
    if [[ -e "$result" ]]; then
        say "$type is there: $result"
        continue
    fi
    say "$type"
    if [[ "$type" == onnx-int4 ]]; then make_onnx "$result"; else make_gguf "$type" "$result"; fi
done
say "measuring"
source="$(as_gguf)" # not as an argument: there its failure would be passed over
show "$python" "$root/scripts/quantize_table.py" "$source" "${results[@]}"
"$python" "$root/scripts/quantize_table.py" "$source" "${results[@]}"
