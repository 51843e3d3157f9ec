# Sorbus in one image: the same for every producer, consumer and one-shot command; what it does is the container's command.
# Pinned by digest, 3.13.15 on Debian trixie; move tag and digest together, for its security fixes.
ARG BASE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
FROM ${BASE} AS build
RUN python -m venv --without-pip /opt/sorbus
WORKDIR /src
COPY ops/containers/requirements.lock .
# pip byte-compiles what it installs, so that a read-only container starts fast. Nothing reads the countries' names in a
# hundred languages, nor the sources of compiled modules.
RUN python -m pip --python /opt/sorbus/bin/python install --quiet --no-cache-dir --require-hashes -r requirements.lock \
    && cd /opt/sorbus/lib/python3*/site-packages \
    && rm -rf pycountry/locales \
    && find . \( -name '*.c' -o -name '*.pyx' -o -name '*.pxd' \) -delete
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY sorbus sorbus
COPY producers producers
COPY consumers consumers
COPY schemas schemas
COPY dlq dlq
COPY ops ops
COPY examples examples
COPY docs/runbooks docs/runbooks
# The C compiler is for sorbus/native, and stays in this stage; without it the image works, slower.
RUN { apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; } \
    || echo "no C compiler: sorbus.native is left out" >&2; \
    python -m pip --python /opt/sorbus/bin/python install --quiet --no-cache-dir --no-deps .

FROM ${BASE}
COPY --from=build /opt/sorbus /opt/sorbus
ENV PATH=/opt/sorbus/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SORBUS_MAP=/etc/sorbus/map.yaml \
    SORBUS_METRICS_HOST=0.0.0.0 \
    SORBUS_METRICS_PORT=9400 \
    SORBUS_WHEN_REFUSED=wait
WORKDIR /etc/sorbus
USER 10001:10001
EXPOSE 9400
# Whether the loop still comes round; needs neither curl nor the packages, so that it costs little.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-ISc", "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ['SORBUS_METRICS_PORT'])), 4); s.sendall(b'GET /healthz/live HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(64))"]
ENTRYPOINT ["sorbus"]
CMD ["--help"]
