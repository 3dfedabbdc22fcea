import os

# MLflow reports its use to its makers, unless it learns before it is imported that it must not: whoever wants it, asks.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
