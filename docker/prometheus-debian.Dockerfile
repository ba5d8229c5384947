# Debian's Prometheus in place of the official image, for machines that reach no image registry (compose.debian.yaml).
ARG BASE=debian:bookworm-20250520-slim
FROM ${BASE}
SHELL ["/bin/sh", "-euc"]
RUN --mount=type=bind,source=docker/install-packages,target=/tmp/docker/install-packages \
    --mount=type=bind,source=docker/debian-packages.txt,target=/tmp/docker/debian-packages.txt \
    --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/99build \
    --mount=type=secret,id=apt.list,target=/etc/apt/sources.list.d/build.list \
    echo "path-exclude=/usr/share/javascript/*" > /etc/dpkg/dpkg.cfg.d/without-pages; \
    /tmp/docker/install-packages image-prometheus; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*; \
    install -d -o nobody -g nogroup /prometheus
USER 65534:65534
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
