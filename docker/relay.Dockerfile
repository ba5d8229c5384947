# A relay, and nothing else: `eloquent origin`, `eloquent edge`, `eloquent key`, `eloquent doctor` (docs/deploy.md).
#
#   docker build --file docker/relay.Dockerfile --tag eloquent-relay .
#
# For secrets of the build see docker/Dockerfile.
ARG BASE=debian:bookworm-20250520-slim

FROM ${BASE} AS package
SHELL ["/bin/sh", "-euc"]
RUN --mount=type=bind,source=docker/install-packages,target=/tmp/docker/install-packages \
    --mount=type=bind,source=docker/debian-packages.txt,target=/tmp/docker/debian-packages.txt \
    --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/99build \
    --mount=type=secret,id=apt.list,target=/etc/apt/sources.list.d/build.list \
    /tmp/docker/install-packages image-python; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
WORKDIR /source
RUN --mount=type=bind,source=requirements,target=/tmp/requirements \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    python3 -m venv /opt/eloquent; \
    /opt/eloquent/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
        --requirement /tmp/requirements/relay.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY proto proto
COPY services services
# What generates code from proto/ is not needed any more.
RUN PATH="/opt/eloquent/bin:$PATH"; \
    pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .; \
    pip uninstall --quiet --yes grpcio grpcio-tools mypy-protobuf types-protobuf setuptools pip

FROM ${BASE}
SHELL ["/bin/sh", "-euc"]
RUN --mount=type=bind,source=docker/install-packages,target=/tmp/docker/install-packages \
    --mount=type=bind,source=docker/debian-packages.txt,target=/tmp/docker/debian-packages.txt \
    --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/99build \
    --mount=type=secret,id=apt.list,target=/etc/apt/sources.list.d/build.list \
    /tmp/docker/install-packages image-relay; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
COPY --from=package /opt/eloquent /opt/eloquent
USER 65534:65534
ENV PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/opt/eloquent/bin/eloquent"]
