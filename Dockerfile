# Locum in one image. CPU by default; for NVIDIA GPUs: docker build --build-arg PLATFORM=gpu .
FROM python:3.11-slim-bookworm

ARG PLATFORM=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# vLLM compiles small kernels when it starts; tcmalloc makes it faster on CPUs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make libtcmalloc-minimal4 \
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
HEALTHCHECK --start-period=5m CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["locum"]
CMD ["serve"]
