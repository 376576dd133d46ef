# One file for two images, with the very steps of a machine without Docker: `make setup`.
#
#   CPU    docker build -t fairnas .
#   CUDA   docker build -t fairnas:cuda --build-arg TORCH_BACKEND=cu130 \
#              --build-arg BASE=nvidia/cuda:13.0.2-base-ubuntu24.04 .
#
#   docker run --rm -v "$PWD/runs:/home/fairnas/src/runs" fairnas pipeline --target pixel
#   docker run --rm --gpus all -v "$PWD/runs:/home/fairnas/src/runs" fairnas:cuda pipeline --target pixel
#
# Any base with apt and Python 3.11 or newer does.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

# Python's patch releases are the distribution's to choose; what fairnas computes with is pinned in constraints.txt.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends -y ca-certificates make python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

# A folder for runs that is mounted from outside must be writable for this user: UID= makes it yours.
ARG UID=10001
RUN useradd --create-home --uid "${UID}" fairnas \
 && install -d -o fairnas -g fairnas /home/fairnas/src /home/fairnas/src/runs
USER ${UID}
WORKDIR /home/fairnas/src
COPY --chown=${UID} . .

# uv takes the build of torch that this names (cpu, cu130, ...), at the version in constraints.txt.
ARG TORCH_BACKEND=cpu
RUN UV_TORCH_BACKEND="${TORCH_BACKEND}" UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 make setup

ENTRYPOINT ["/home/fairnas/src/.venv/bin/fairnas"]
CMD ["--help"]
