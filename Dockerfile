# One image for the roles api, watch, work and media; PostgreSQL and the object store are elsewhere.

FROM python:3.12-slim-bookworm AS build

RUN python -m venv /opt/venv
COPY requirements.txt /tmp/
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes --only-binary :all: -r /tmp/requirements.txt


FROM node:22-bookworm-slim AS pages

WORKDIR /opt/pages
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev


FROM python:3.12-slim-bookworm

RUN useradd --system --uid 10001 --home-dir /var/lib/earwitness --create-home earwitness
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/earwitness
COPY --from=pages /opt/pages/node_modules node_modules/
COPY LICENSE config.toml ./
COPY earwitness/ earwitness/
COPY api/ api/
COPY recorder/ recorder/
COPY storage/ storage/
RUN /opt/venv/bin/python -m compileall -q . \
    && /opt/venv/bin/pybabel --quiet compile -d api/translations

# Listen on all addresses, so that other machines reach the API without a proxy.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    EARWITNESS_SERVER__HOST=0.0.0.0 \
    EARWITNESS_MEDIA__HOST=0.0.0.0 \
    EARWITNESS_DATA__DIRECTORY=/var/lib/earwitness

USER earwitness
VOLUME /var/lib/earwitness
EXPOSE 8080 8081

# For the role api: media speaks only WebSocket, watch and work do not listen.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=3); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["python", "-m", "earwitness"]
CMD ["api"]
