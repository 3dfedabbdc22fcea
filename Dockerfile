# docker build -t segmentation .                              for CPUs
# docker build -t segmentation-gpu --build-arg EXTRAS=gpu .   for NVIDIA GPUs
# docker run --rm -v "$PWD/data:/app/data" -v "$PWD/mlruns:/app/mlruns" --user "$(id -u):$(id -g)" segmentation run.py epochs=2
#
# With EXTRAS=gpu TensorFlow brings CUDA as Python packages: the host needs NVIDIA's driver and its container toolkit only
# (`docker run --gpus all`). Several extras: EXTRAS=gpu,postgres.
FROM python:3.11-slim

ARG EXTRAS=""
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
# The dependencies first: a change of the code alone installs them from Docker's cache.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir pipeline && touch pipeline/__init__.py \
    && pip install -c constraints.txt -e ".${EXTRAS:+[$EXTRAS]}"
COPY run.py MLproject python_env.yaml ./
COPY conf conf
COPY pipeline pipeline

# Any user may run it (`docker run --user`); without one it is not root. HOME is for Keras's settings and weights.
RUN useradd --uid 1000 --home-dir /home/trainer --create-home trainer \
    && chmod 0777 /home/trainer \
    && install -d -m 0777 data mlruns
ENV HOME=/home/trainer
USER 1000:1000
VOLUME ["/app/data", "/app/mlruns"]

ENTRYPOINT ["python"]
CMD ["run.py", "--help"]
