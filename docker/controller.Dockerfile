# The OpenFlow controller: Ryu with its own eventlet, which no other process may meet. It needs no right at all.
#
#   docker build --file docker/controller.Dockerfile --tag eloquent-controller .      (BuildKit; secrets as in Dockerfile)
ARG BASE=debian:bookworm-20250520-slim

FROM ${BASE} AS python
SHELL ["/bin/sh", "-euc"]
RUN --mount=type=bind,source=docker/install-packages,target=/tmp/docker/install-packages \
    --mount=type=bind,source=docker/debian-packages.txt,target=/tmp/docker/debian-packages.txt \
    --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/99build \
    --mount=type=secret,id=apt.list,target=/etc/apt/sources.list.d/build.list \
    /tmp/docker/install-packages image-python; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*

FROM python AS environment
WORKDIR /controller
RUN --mount=type=bind,source=requirements,target=/tmp/requirements \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    install() { .venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes "$@"; }; \
    python3 -m venv .venv; \
    install --requirement /tmp/requirements/controller-build.lock; \
    install --no-build-isolation --requirement /tmp/requirements/controller.lock; \
    .venv/bin/pip uninstall --quiet --yes wheel pip

FROM python AS controller
COPY --from=environment /controller /controller
COPY topologies/controller.py /controller/controller.py
ENV PATH=/controller/.venv/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
WORKDIR /controller
USER 65534:65534
EXPOSE 6653 9105
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9105/metrics', timeout=4)"]
CMD ["python", "controller.py", "--listen", "0.0.0.0:6653", "--metrics", "0.0.0.0:9105"]
