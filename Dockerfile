# The worker's image: SGLang's own image, with the router added.
#
#   docker build -t worker .
#   docker build -t worker --build-arg MODEL_NAME=org/name --secret id=HF_TOKEN .
#
# A token is never an ARG or an ENV, because the image's history would keep it. For the build
# it is a secret, as above (read from the variable HF_TOKEN). At run time it is a variable.

# The newest slim tag seen in public use. It has CUDA 13, so the host needs driver 580 or newer.
# The tests run SGLang 0.5.23, for which no image was seen. The command-line parsers of 0.5.20
# to 0.5.23 accept every flag that the router emits.
ARG SGLANG_VERSION=v0.5.21-runtime
ARG BASE=lmsysorg/sglang:${SGLANG_VERSION}

# The wheel, built by a backend whose hashes are checked: pip's own isolation checks none.
FROM ${BASE} AS wheel
WORKDIR /src
COPY requirements-build.txt ./
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY engines ./engines
COPY router ./router
RUN /opt/build/bin/hatchling build --target wheel --directory /wheels

# hadolint ignore=DL3006
FROM ${BASE}

LABEL org.opencontainers.image.title="multi-model-router-worker" \
      org.opencontainers.image.description="One GPU worker, many models" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"

# In an environment of its own: the RunPod SDK's dependencies and SGLang's do not agree, and
# the SDK initializes CUDA in its own process if it finds torch.
WORKDIR /app
COPY requirements.txt ./
RUN python3 -m venv /opt/router \
    && /opt/router/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    /opt/router/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

# A model in the image. Not in /runpod-volume, where RunPod mounts a network volume over it.
# Name a revision, org/name@tag, or the model is downloaded again when its default revision
# moves. The Hub is still asked whether a caller may use it, unless its name is a path:
# MODEL_NAME=/models/org/name serves it to all callers. The image contains the weights, so
# anyone with access to the image has them.
ARG MODEL_NAME=""
ARG HF_ENDPOINT=https://huggingface.co
RUN --mount=type=secret,id=HF_TOKEN \
    if [ -n "${MODEL_NAME}" ]; then \
        /opt/router/bin/model-router prefetch "${MODEL_NAME}" \
            --into /models --token-file /run/secrets/HF_TOKEN; \
    fi
ENV MODEL_NAME=${MODEL_NAME}

# `model-router` comes last on PATH, so that `python3` stays the one that has SGLang.
#
# SSL_CERT_FILE is set because a deployment from the listing sends every variable, and OpenSSL
# takes an empty one to mean no certificate authorities at all. At DEBUG, its default, the
# RunPod SDK logs what the models answer.
ENV PATH=${PATH}:/opt/router/bin \
    ENGINE_PYTHON=python3 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    RUNPOD_LOG_LEVEL=INFO

# Root, because RunPod's network volumes belong to root. The engines run as user 60800 where it
# can read the model (ENGINE_USER), and keep the kernels that they compile in a home of their
# own, for as long as the worker lives. Nothing else needs root: docker run --user 1000 -e HOME=/tmp
#
# No HEALTHCHECK: RunPod asks /ping itself or watches the jobs, and a worker that takes jobs
# from the queue listens on no port.
ENTRYPOINT []
CMD ["model-router"]
