# Locum in one image. CPU by default; for NVIDIA GPUs: docker build --build-arg PLATFORM=gpu .
FROM python:3.11-slim-bookworm

ARG PLATFORM=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# vLLM's CPU build needs libnuma, and compiles for the CPU it finds when it starts; tcmalloc makes it faster.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make libnuma1 libtcmalloc-minimal4 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/locum
COPY Makefile pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY locum locum
COPY adapters adapters
COPY train train
COPY serve serve
COPY evaluate evaluate
COPY domains domains
RUN make setup PLATFORM="${PLATFORM}"

# State lives in a volume, never in the image.
ENV PATH=/opt/locum/.venv/bin:$PATH LOCUM_HOME=/var/lib/locum LOCUM_DOMAINS=/opt/locum/domains LOCUM_HOST=0.0.0.0
RUN useradd --uid 1000 --create-home --home-dir /var/lib/locum locum
USER 1000
WORKDIR /var/lib/locum
VOLUME /var/lib/locum
EXPOSE 8000
# Asked directly: Docker hands the variables of a proxy to containers.
HEALTHCHECK --start-period=5m CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ.get(\"LOCUM_PORT\", 8000)}/health')"]
ENTRYPOINT ["locum"]
CMD ["serve"]
