# One image: `anjuan serve` by default, any other command by name. Built in two steps so that no tool of the build stays.
FROM python:3.13-slim AS build
COPY requirements-run.lock .
RUN python -m venv /venv \
 && python -m pip install --quiet --root-user-action=ignore uv==0.13.9 \
 && VIRTUAL_ENV=/venv uv pip install --quiet --require-hashes -r requirements-run.lock

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home anjuan && install -d -o anjuan -g anjuan /data
COPY --from=build /venv /venv
WORKDIR /app
COPY grading_engine grading_engine
COPY services services
COPY projections projections
COPY intake_api intake_api
COPY alembic alembic
RUN printf '#!/bin/sh\nexec /venv/bin/python -m intake_api "$@"\n' > /usr/local/bin/anjuan && chmod 755 /usr/local/bin/anjuan
USER anjuan
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ANJUAN_DATA=/data ANJUAN_HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('ANJUAN_PORT') or 8000}/readyz\", timeout=2)"]
ENTRYPOINT ["anjuan"]
CMD ["serve"]
