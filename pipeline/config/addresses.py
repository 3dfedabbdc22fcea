"""Addresses of MLflow's store and of a search's study: checked and made absolute before anything connects."""

from pathlib import Path
from urllib.parse import unquote

from pipeline.config.environment import TRACKING_URI, variable
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials

HOME = Path("mlruns")  # in the current directory: everything that runs write
LOCAL = "sqlite:///mlruns/mlflow.db"  # the default database, whatever the environment says
JOURNAL = "journal:"  # starts the address of a study that is a file of Optuna's journal
DATABRICKS = "databricks"  # or databricks://<profile>; MLflow reads the host and the token itself
SCHEMES = ("http", "https", "sqlite", "postgresql", "postgresql+psycopg2", "mysql", "mysql+pymysql", "mssql")


def tracking_uri(uri: str | None) -> str:
    """The absolute form of `tracking.uri`, by which every command finds its store.

    None stands for MLFLOW_TRACKING_URI or, without that, for a database in the current directory.

    Raises:
        UserError: MLflow cannot use such an address.
    """
    key = "tracking.uri"
    if uri is None:
        key, uri = TRACKING_URI, variable(TRACKING_URI)
    if uri is None:
        return _sqlite_uri(HOME / "mlflow.db")
    scheme, colon, _ = uri.partition(":")
    scheme = scheme.lower()
    if uri == DATABRICKS or uri.startswith(f"{DATABRICKS}://"):
        return uri
    if not colon or scheme not in SCHEMES:
        raise UserError(
            f"{key}={mask_credentials(uri)}: http://, https://, sqlite:///, postgresql:// or mysql:// expected"
        )
    if scheme != "sqlite":
        return uri
    place, question, options = uri.partition("?")
    file = unquote(place.removeprefix("sqlite:///"))
    if not place.startswith("sqlite:///") or file in ("", ":memory:"):
        raise UserError(f"{key}={uri}: sqlite:///<file> expected; a database in memory ends with the process")
    return _sqlite_uri(Path(file)) + question + options


def recorded_uri(uri: str | None) -> str | None:
    """An address as a journal stores it: without credentials, and valid after the project's folder was moved or copied.

    Returns:
        None for the default database; a relative address for another database in the current directory.
    """
    absolute, here = tracking_uri(uri), _sqlite_uri(Path.cwd()) + "/"
    if absolute == tracking_uri(LOCAL):
        return None
    if absolute.startswith(here):
        return "sqlite:///" + absolute.removeprefix(here)
    return mask_credentials(absolute)


def storage_address(address: str | None) -> str:
    """The absolute form of `sweep.storage`; None stands for a database in the current directory.

    Raises:
        UserError: Optuna cannot use such an address.
    """
    if address is None:
        return f"sqlite:///{(HOME / 'optuna.db').absolute()}"
    if address.startswith(JOURNAL):
        return JOURNAL + str(Path(address.removeprefix(JOURNAL)).expanduser().absolute())
    if address.startswith("sqlite:///"):
        return f"sqlite:///{Path(address.removeprefix('sqlite:///')).expanduser().absolute()}"
    if address.partition("://")[0].partition("+")[0] not in ("postgresql", "mysql"):
        raise UserError(
            f"sweep.storage={mask_credentials(address)}: sqlite:///<file>, journal:<file>, postgresql://… or mysql://… "
            "expected"
        )
    return address


def database_file(uri: str) -> Path | None:
    """The file of an address that `tracking_uri` returned; None for a server."""
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])) if uri.startswith("sqlite:///") else None


def _sqlite_uri(file: Path) -> str:
    """The address of a file. SQLAlchemy reads % as an escape and ? as the start of its options."""
    path = str(file.expanduser().resolve())
    return f"sqlite:///{path.replace('%', '%25').replace('?', '%3F')}"
