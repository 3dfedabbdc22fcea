"""Addresses of MLflow's store and of a search's study: checked and made absolute before anything connects."""

import re
import shlex
from pathlib import Path
from urllib.parse import quote, unquote

from pipeline.config.environment import TRACKING_URI, variable
from pipeline.runtime.errors import UserError
from pipeline.runtime.paths import typed_path
from pipeline.runtime.text import mask_credentials

HOME = Path("mlruns")  # in the current directory: everything that runs write
LOCAL = "sqlite:///mlruns/mlflow.db"  # the default database, whatever the environment says
JOURNAL = "journal:"  # starts the address of a study that is a file of Optuna's journal
DATABRICKS = "databricks"  # or databricks://<profile>; MLflow reads the host and the token itself
SQLITE = ("sqlite:///", "sqlite+pysqlite:///")  # the second names SQLAlchemy's driver
IN_A_FILE = "sqlite:///<file> expected; a database in memory ends with the process"
NAMES = {" ": "a blank", "'": "'", '"': '"'}  # of characters that are percent-encoded
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
    _check_credentials(key, uri)
    scheme, colon, _ = uri.partition(":")
    scheme = scheme.lower()
    if uri.startswith(SQLITE):
        return _absolute(key, uri)
    if uri == DATABRICKS or uri.startswith(f"{DATABRICKS}://"):
        return uri
    if not colon or scheme not in SCHEMES:
        raise UserError(
            f"{key}={mask_credentials(uri)}: http://, https://, sqlite:///, postgresql:// or mysql:// expected"
        )
    if scheme == "sqlite":
        raise UserError(f"{key}={uri}: {IN_A_FILE}")
    return uri


def recorded_uri(uri: str | None) -> str | None:
    """An address as a journal stores it: without credentials, and valid after the project's folder was moved or copied.

    Returns:
        None for the default database; a relative address for another database in the current directory.
    """
    absolute, here = tracking_uri(uri), Path.cwd()
    if absolute == tracking_uri(LOCAL):
        return None
    file = database_file(absolute)
    if file is None or not file.is_relative_to(here):
        return mask_credentials(absolute)
    _, question, options = absolute.partition("?")
    return SQLITE[0] + _escaped(str(file.relative_to(here))) + question + options


def storage_address(address: str | None) -> str:
    """The absolute form of `sweep.storage`; None stands for a database in the current directory.

    Raises:
        UserError: Optuna cannot use such an address.
    """
    if address is None:
        return _for_optuna(_sqlite_uri(HOME / "optuna.db"))
    _check_credentials("sweep.storage", address)
    if address.startswith(JOURNAL):
        return JOURNAL + str(typed_path("sweep.storage", address.removeprefix(JOURNAL)).absolute())
    if address.startswith(SQLITE):
        return _for_optuna(_absolute("sweep.storage", address))
    if address.partition("://")[0].partition("+")[0] not in ("postgresql", "mysql"):
        raise UserError(
            f"sweep.storage={mask_credentials(address)}: sqlite:///<file>, journal:<file>, postgresql://… or mysql://… "
            "expected"
        )
    return address


def database_file(uri: str) -> Path | None:
    """The file of an address that `tracking_uri` or `storage_address` returned; None if it is none of SQLite's."""
    if not uri.startswith(SQLITE):
        return None
    return Path(unquote(uri.partition(":///")[2].partition("?")[0]))


def _check_credentials(key: str, address: str) -> None:
    """Check that credentials can be recognised inside other text, where they are masked.

    Raises:
        UserError: an address with credentials has blanks or quotation marks, which could end it in a text.
    """
    marks = sorted(set(re.findall(r"['\"\s]", address)))
    encoded = re.sub(r"['\"\s]", lambda found: quote(found[0]), address)
    masked = mask_credentials(encoded)
    if marks and masked != encoded:
        forms = ", ".join(f"{quote(mark)} for {NAMES.get(mark, 'white space')}" for mark in marks)
        raise UserError(
            f"{key}={masked}: an address with a user or password has blanks or quotation marks; percent-encode them: "
            f"{forms}"
        )


def _absolute(key: str, address: str) -> str:
    """The absolute form of an SQLite address, which may have options after a `?`.

    Raises:
        UserError: it is in memory; or its % and ? would lead to another folder than the one that was meant.
    """
    written = address.partition(":///")[2]
    escaped, question, options = written.partition("?")
    file = unquote(escaped)
    if file in ("", ":memory:"):
        raise UserError(f"{key}={address}: {IN_A_FILE}")
    meant, read = typed_path(key, written), typed_path(key, file)
    if meant.parent.is_dir() and ("/" in options or not read.parent.is_dir()):
        raise UserError(
            f"{key}={address}: this address leads to {read}, since % and ? have a meaning in addresses; type "
            + shlex.quote(f'{key}="{SQLITE[0]}{_escaped(str(meant))}"')
        )
    return _sqlite_uri(read) + question + options


def _sqlite_uri(file: Path) -> str:
    """The address of a file.

    Where characters are escaped the driver is named as well, since MLflow would create the folder `sqlite:///<folder>`
    without reading the escapes.
    """
    path = str(file.resolve())
    escaped = _escaped(path)
    return (SQLITE[0] if escaped == path else SQLITE[1]) + escaped


def _escaped(path: str) -> str:
    """A path in an address: SQLAlchemy reads % as an escape and ? as the start of its options."""
    return path.replace("%", "%25").replace("?", "%3F")


def _for_optuna(address: str) -> str:
    """An address in which Optuna finds no {template}."""
    return address.replace("{", "%7B").replace("}", "%7D")
