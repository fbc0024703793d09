#!/bin/sh
# Chats, streams and shows an error, with curl:
#
#   ROUTER=http://127.0.0.1:8000 MODEL=Qwen/Qwen3-0.6B sh examples/clients/curl.sh
set -eu

ask() {
  curl --silent --show-error --max-time 600 "${ROUTER:-http://127.0.0.1:8000}/v1/chat/completions" \
    --header "Authorization: Bearer ${API_KEY:-unused}" \
    --header "X-HF-Token: ${HF_TOKEN-}" \
    --header "Content-Type: application/json" \
    "$@"
}

body() {
  printf '{"model": "%s", "messages": [{"role": "user", "content": "Who are you?"}], "stream": %s}' "$@"
}

# The whole answer. --fail-with-body: the status becomes the exit status, and the error is shown.
ask --fail-with-body --data "$(body "${MODEL:-Qwen/Qwen3-0.6B}" false)"
echo

# A stream. -N prints it as it comes. Lines that begin with a colon report progress while you wait.
ask -N --data "$(body "${MODEL:-Qwen/Qwen3-0.6B}" true)"

# An error, and its status.
ask --write-out '\n%{http_code}\n' --data "$(body nobody/nothing false)"
