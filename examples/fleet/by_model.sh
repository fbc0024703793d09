#!/bin/sh
# Sends a request to a model on a RunPod load-balancing endpoint, to the worker that answered last.
#
#     ENDPOINT=... RUNPOD_KEY=... MODEL=Qwen/Qwen3-0.6B sh examples/fleet/by_model.sh
#
# HOMES is a folder with a file for each model, which holds the id of the preferred worker. If that
# worker is gone or full, another one answers.
set -eu
URL=${ENDPOINT_URL:-https://$ENDPOINT.api.runpod.ai}
HOMES=${HOMES:-${XDG_CACHE_HOME:-$HOME/.cache}/by-model}
mkdir -p "$HOMES"
home=$HOMES/$(printf %s "$MODEL" | tr / _)
head=$(mktemp)
trap 'rm -f "$head"' EXIT

# An empty header means no preference. The key comes from standard input, because other users can
# see a command line.
printf 'Authorization: Bearer %s\n' "$RUNPOD_KEY" | curl -sS --fail-with-body \
    --max-time 330 -D "$head" -H @- -H 'Content-Type: application/json' \
    -H "X-Runpod-Worker-Id: $(cat "$home" 2>/dev/null || true)" \
    -d '{"model": "'"$MODEL"'", "max_tokens": 64,
         "messages": [{"role": "user", "content": "Who are you?"}]}' \
    "$URL/v1/chat/completions"
sed -n 's/^[Xx]-[Rr]unpod-[Ww]orker-[Ii]d: *\([A-Za-z0-9_-]*\).*/\1/p' "$head" > "$home"
