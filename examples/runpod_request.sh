#!/bin/sh
# Sends one job to a RunPod queue endpoint and waits for its answer:
#
#   ENDPOINT=... RUNPOD_KEY=... MODEL=Qwen/Qwen3-0.6B sh examples/runpod_request.sh
#
# The response is the job. Its `output` is a list with one element, the model's answer. If the
# job was refused, its `status` is FAILED and its `error` says why.
set -eu

curl --fail-with-body --silent --show-error \
  "${RUNPOD_API:-https://api.runpod.ai/v2}/${ENDPOINT:?}/runsync" \
  --header "Authorization: Bearer ${RUNPOD_KEY:?}" \
  --header "Content-Type: application/json" \
  --data @- <<EOF
{
  "input": {
    "model": "${MODEL:-Qwen/Qwen3-0.6B}",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "max_tokens": 64
  }
}
EOF
