# The worker's image: SGLang's own, with the router beside it.
#
#   docker build -t worker .
#   docker build -t worker --build-arg MODEL_NAME=org/name --secret id=HF_TOKEN .
#
# A token is never an ARG or an ENV: the image's history would keep it. When building it is
# a secret, as above (out of the variable HF_TOKEN); when running it is a variable.

# The newest slim tag seen in public use; CUDA 13, so the host's driver is 580 or newer.
# The router is tested with SGLang 0.5.23, of which no image had been seen: the command-line
# parsers of 0.5.20 to 0.5.23, from PyPI, were asked and take every flag that it can emit.
ARG SGLANG_VERSION=v0.5.21-runtime
ARG BASE=lmsysorg/sglang:${SGLANG_VERSION}
FROM ${BASE}

# In an environment of its own: the RunPod SDK's dependencies and SGLang's do not agree, and
# the SDK initialises CUDA in its own process where it finds torch.
WORKDIR /app
COPY requirements.txt ./
RUN python3 -m venv /opt/router \
    && /opt/router/bin/pip install --no-cache-dir -r requirements.txt
COPY engines ./engines
COPY router ./router

# A model in the image: not below /runpod-volume, where RunPod mounts a network volume over
# it. Name a revision, org/name@tag, or it is downloaded anew when the default one moves. Who
# may use it is asked of the Hub at each request all the same; MODEL_NAME=/models/org/name
# serves it to all callers. Whoever can pull the image has its weights.
ARG MODEL_NAME=""
ARG HF_ENDPOINT=https://huggingface.co
RUN --mount=type=secret,id=HF_TOKEN \
    if [ -n "${MODEL_NAME}" ]; then \
        /opt/router/bin/python -m router prefetch "${MODEL_NAME}" \
            --into /models --token-file /run/secrets/HF_TOKEN; \
    fi
ENV MODEL_NAME=${MODEL_NAME}

# SSL_CERT_FILE is named because a deployment from the listing sends every variable, and to
# OpenSSL an empty one means no authorities at all. At DEBUG, its default, the RunPod SDK
# logs what the models answer.
ENV ENGINE_PYTHON=python3 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    RUNPOD_LOG_LEVEL=INFO

# Root, because RunPod's network volumes are root's and SGLang's image keeps its kernel
# caches in /root. Elsewhere nothing needs it: docker run --user 1000 -e HOME=/tmp
#
# No HEALTHCHECK: RunPod asks /ping itself or looks at the jobs, and a worker that takes
# jobs from the queue has no port to ask.
ENTRYPOINT []
CMD ["/opt/router/bin/python", "-m", "router"]
