#!/usr/bin/env bash
# A session in the real app, driven by keys through tmux, from its start to an exported file:
#
#   scripts/tmux_session.sh [FOLDER]
#
# FOLDER (or a temporary one) gets what the screen showed at each step, and the export. Everything the
# app stores is in there, too. It needs tmux and an environment made by `make`, and ends with 0 when
# every step was seen.
set -euo pipefail

root="$(cd "$(dirname "$0")/.." && pwd)"
out="${1:-$(mktemp -d)}"
mkdir -p "$out"
name="ondevice-$$"
tmux_() { tmux -L "$name" "$@"; }  # a server of its own: no settings, no other sessions
trap 'tmux_ kill-server 2> /dev/null || true' EXIT

keys() { tmux_ send-keys -t app "$@"; }

step() { # NAME PATTERN: wait until the screen shows PATTERN, and keep it
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        tmux_ capture-pane -p -t app > "$out/$1.txt"
        if grep -qE -- "$2" "$out/$1.txt"; then
            echo "$1: $(grep -m 1 -oE -- "$2" "$out/$1.txt")"
            return
        fi
        sleep 0.2
    done
    echo "$1: \"$2\" was not seen, see $out/$1.txt" >&2
    exit 1
}

tmux_ -f /dev/null new-session -d -s app -x 120 -y 40 \
    "cd '$out' && ONDEVICE_HOME='$out/home' '$root/.venv/bin/ondevice'; echo \"ended with \$?\"; sleep 60"
step 01-ready "Ask anything"
keys "Name three rivers of Europe, one a line." Enter
step 02-answered "[0-9]+ tok · [0-9.]+ tok/s"
keys C-r
step 03-reading "C Copy"
keys u
step 04-useful "★ useful"
keys Escape
step 05-writing "Ctrl.R Read"
keys "And which is the longest?" Enter
step 06-reused "reused +[1-9][0-9]* tok"
keys F4
step 07-sessions "1 kept"
keys r
step 08-renaming "Rename ─"
keys C-u
keys "Rivers of Europe" Enter
step 09-renamed "It has its new title"
keys x
step 10-exporting "Export as"
keys Enter
step 11-exported "[^ ]+[.]md"
keys Escape
step 12-back "─ Live"
keys C-l
step 13-costs "by day"
keys Escape
step 14-back "─ Live"
keys F10
step 15-left "ended with 0"

export="$(find "$out" -maxdepth 1 -name "*.md" | head -n 1)"
grep -q "^## You" "$export" && grep -q "Name three rivers" "$export"
echo "exported: $(wc -l < "$export") lines in $(basename "$export")"
