# One image for every role and the command line: `docker run headrace run worker /site` (docs/deployment.md).
# The tag decides the Python; what it installs is decided by requirements.lock and its hashes.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY requirements.lock pyproject.toml ./
COPY tools/runtime_lock.py tools/
# The whole lock file into an environment that stays behind; of it, what runs goes into the one that is shipped.
RUN python -m venv /build \
 && /build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock \
 && /build/bin/python tools/runtime_lock.py > runtime.lock \
 && python -m venv --without-pip /opt/headrace \
 && /build/bin/pip --python /opt/headrace/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes -r runtime.lock
COPY README.md ./
COPY rules rules
COPY streams streams
COPY gateways gateways
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-cache-dir --wheel-dir dist . \
 && /build/bin/pip --python /opt/headrace/bin/python install --no-deps --no-index dist/*.whl
# Kernels are compiled now, as `make install` does, and for any processor of the architecture: an image that was built
# on one machine runs on others.
ENV NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/opt/headrace/kernels
RUN /opt/headrace/bin/python -c "import rules.engine.kernel.faces"

FROM python:${PYTHON}
RUN groupadd --gid 10001 headrace \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/headrace --shell /usr/sbin/nologin headrace \
 && install -d -o headrace -g headrace -m 0750 /var/lib/headrace
COPY --from=build /opt/headrace /opt/headrace
COPY tools/container_start.sh /usr/local/bin/headrace-start
COPY examples /opt/headrace/examples
# Nothing is written but to /var/lib/headrace (the run folder) and /tmp, so the root file system can be read-only.
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/tmp/kernels \
    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
    MALLOC_ARENA_MAX=2 ARROW_DEFAULT_MEMORY_POOL=system \
    HEADRACE_RUN_DIR=/var/lib/headrace \
    HEADRACE_HTTP__LISTEN=127.0.0.1:9464
VOLUME /var/lib/headrace
WORKDIR /opt/headrace
USER 10001:10001
# SIGTERM is an orderly end: a worker reads on to the end of the log, for 10 s at most.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["headrace-start", "--healthy"]
ENTRYPOINT ["headrace-start"]
CMD ["--help"]
