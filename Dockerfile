# PiCloud in a container: see docs/operations.md, "In a container".

FROM node:22-trixie-slim AS dashboard
WORKDIR /src/dashboard
COPY dashboard/package.json dashboard/package-lock.json ./
RUN npm ci
COPY dashboard ./
# The editor reads its completions from this file.
COPY docs/functions.json /src/docs/
RUN npm run build

FROM rust:1.95-slim-trixie AS server
# The allocator is built with it.
RUN apt-get update && apt-get install --yes --no-install-recommends make
WORKDIR /src
COPY . .
COPY --from=dashboard /src/dashboard/build dashboard/build
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package picloud \
    && install -D target/release/picloud /out/picloud

FROM debian:trixie-slim
# The certificates are for TLS requests of scripts. pg_dump and pg_restore are for backups of
# PostgreSQL up to version 17.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin picloud \
    && install -d -m 700 -o picloud -g picloud /data /backups
COPY --from=server /out/picloud /usr/local/bin/picloud
USER picloud
ENV PICLOUD_LISTEN=0.0.0.0:8080 PICLOUD_DATA=/data
VOLUME /data
EXPOSE 8080
# The first start compiles the interpreter, which takes some seconds.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["picloud", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["picloud"]
CMD ["serve"]
