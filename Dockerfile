# The service on a processor: echoscape serve, with SQLite in /data or PostgreSQL by --store.
FROM python:3.11-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ECHOSCAPE_CACHE=/data/compiled

WORKDIR /app
COPY requirements-service.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements-service.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY tools/version.py ./tools/
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --uid 10001 --no-create-home echoscape \
    && install --directory --owner=echoscape /data

USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8750
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8750/v1/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["echoscape"]
CMD ["serve", "--store", "sqlite:////data/site.db", "--host", "0.0.0.0"]
