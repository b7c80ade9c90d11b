"""The connection to a Milvus server: every call has a time limit, bounded retries, and errors of one line."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from commonplace.errors import CollectionError
from commonplace.i18n import _
from commonplace.store.milvus.expressions import split_any_of

if TYPE_CHECKING:
    from commonplace.store.milvus.address import MilvusAddress

__all__ = ["MOST", "Connection", "Features", "client_class", "features_of"]

T = TypeVar("T")

LITE_MEMTABLE = 2 * 1024**2
"""Size at which Milvus Lite writes rows to a segment. Its rows in memory are searched by Python code, 20 times slower
than a segment."""
CALL_BYTES = 16 * 1024**2
"""Maximum size of the rows of one call. Servers refuse 64 MB."""
MOST = 16_384
"""Maximum number of rows that a server returns for one query or search."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0  # seconds between two tries
_TRANSIENT = re.compile(
    "not loaded|recover|not ready|no available|not available|unavailable|rate limit|node offline|starting|"
    "connection refused|socket closed|failed to connect|not found in channel|channel not match|not fully loaded|"
    "node not match|unserviceable|lack of",
    re.IGNORECASE,
)
_LATE = re.compile(r"deadline exceeded|timed out|timeout:|run out of|retry timeout", re.IGNORECASE)
_REFUSED = re.compile(r"authenticat|permission denied|privilege|auth check", re.IGNORECASE)
_IN_USE = re.compile(r"open local milvus failed|another process|is locked|lock file|already locked", re.IGNORECASE)
_import_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a server, decided by its version.

    ``lite``: Milvus Lite. ``sparse``: sparse vectors, needed for full-text search. ``infix_like``: LIKE with a pattern
    that begins with ``%``. ``inverted``: inverted indexes on scalar fields. ``timestamps``: writes return timestamps
    that reads can wait for. ``rabitq``: indexes of quantised vectors (IVF_RABITQ).
    """

    version: str
    lite: bool
    sparse: bool
    infix_like: bool
    inverted: bool
    timestamps: bool
    rabitq: bool


def features_of(version: str) -> Features:
    """Return the features of a server with this version, as ``get_server_version`` states it."""
    lite = version.startswith("milvus_lite") or "milvus-lite" in version
    numbers = re.search(r"(\d+)\.(\d+)", version)
    release = (int(numbers[1]), int(numbers[2])) if numbers else (2, 3)
    modern = lite or release >= (2, 4)
    return Features(
        version,
        lite=lite,
        sparse=modern,
        infix_like=modern,
        inverted=modern,
        timestamps=not lite,
        rabitq=not lite and release >= (2, 6),
    )


def client_class() -> Any:
    """Import pymilvus. Its reading of a ``.env`` file and its log of tracebacks are switched off."""
    with _import_lock:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # otherwise gRPC writes lines to standard error
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        # Milvus Lite reads this when it is imported.
        os.environ.setdefault("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", str(LITE_MEMTABLE))
        try:
            import dotenv
        except ImportError:
            raise CollectionError(
                _("a Milvus collection needs the extra milvus: run `pip install 'commonplace-rag[milvus]'`")
            ) from None
        original = dotenv.load_dotenv
        dotenv.load_dotenv = lambda *_, **__: False
        try:
            from pymilvus import MilvusClient
        except ImportError:
            raise CollectionError(
                _("a Milvus collection needs the extra milvus: run `pip install 'commonplace-rag[milvus]'`")
            ) from None
        finally:
            dotenv.load_dotenv = original
        for name in ("pymilvus", "milvus_lite", "grpc._server"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # each error is raised, in one line
    return MilvusClient


class Connection:
    """A connection to the server of an address. Thread-safe.

    Raises CollectionError if no server answers within the address's ``timeout`` (seconds), if it refuses the token, or
    if the extra ``milvus`` is missing.
    """

    def __init__(self, address: MilvusAddress) -> None:
        self.address = address
        self._closed = False
        self._client: Any = None
        self._lock = threading.Lock()
        self.features = features_of(str(self.call("get_server_version")))

    def _connected(self) -> Any:
        with self._lock:
            self.check_open()
            if self._client is None:
                address = self.address
                options: dict[str, Any] = {"uri": address.uri, "timeout": address.timeout}
                if address.token:
                    options["token"] = address.token
                if address.ca:
                    if not os.path.isfile(address.ca):
                        raise CollectionError(
                            _("the file of certificates {ca} does not exist: check COMMONPLACE_MILVUS_CA").format(
                                ca=address.ca
                            )
                        )
                    options["server_pem_path"] = address.ca
                self._client = client_class()(**options)
            return self._client

    def check_open(self) -> None:
        """Raise CollectionError if the connection is closed."""
        if self._closed:
            raise CollectionError(_("the collection {url} is closed: open it again").format(url=self.address.url))

    def call(self, method: str, *values: Any, timeout: float | None = None, **options: Any) -> Any:
        """Call a method of the client and return its result; see ``run``."""
        return self.run(lambda left: getattr(self._connected(), method)(*values, timeout=left, **options), timeout)

    def run(self, function: Callable[[float], T], timeout: float | None = None) -> T:
        """Call a function with the seconds that are left, and return its result.

        ``timeout`` is the time limit in seconds of all tries together (default: the address's). What a server refuses
        only for the moment is tried again, with growing random waits. All calls can be repeated without harm.
        """
        limit = timeout or self.address.timeout
        end = monotonic() + limit
        wait = FIRST_WAIT
        while True:
            left = max(0.1, end - monotonic())
            try:
                return function(left)
            except CollectionError:
                raise
            except Exception as problem:
                if monotonic() + wait >= end or not _TRANSIENT.search(str(problem)):
                    raise self._error(problem, limit) from None
            sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, LONGEST_WAIT)

    def _error(self, problem: Exception, limit: float) -> CollectionError:
        """Return an error of one line for an error of the client."""
        url, reason = self.address.url, _reason(problem)
        lowered = reason.casefold()
        if _LATE.search(lowered):
            return CollectionError(
                _(
                    "the Milvus server of {url} did not answer within {limit:g} s: check that it runs, or raise "
                    "COMMONPLACE_MILVUS_TIMEOUT"
                ).format(url=url, limit=limit)
            )
        if _REFUSED.search(lowered):
            return CollectionError(
                _(
                    "the Milvus server of {url} refused the token: check COMMONPLACE_MILVUS_TOKEN and the user's rights"
                ).format(url=url)
            )
        if self.address.is_lite and _IN_USE.search(lowered):
            return CollectionError(
                _(
                    "{url} is open in another process: one process at a time can use a Milvus Lite file; close "
                    "the other, "
                    "or use a Milvus server"
                ).format(url=url)
            )
        if "unimplemented" in lowered:
            return CollectionError(
                _("what answers at {url} is no Milvus server: check the host and port").format(url=url)
            )
        if _TRANSIENT.search(reason) or "connect" in lowered:
            return CollectionError(
                _("no Milvus server answers at {url}: check that it runs, the host and port, and TLS").format(url=url)
            )
        return CollectionError(
            _("the Milvus server of {url} refused a request: {reason:.300}").format(url=url, reason=reason)
        )

    # --- writing ---------------------------------------------------------------------------------------------

    def upsert(self, collection: str, rows: Sequence[dict[str, Any]], size: Callable[[dict[str, Any]], int]) -> None:
        """Write rows, in calls of limited size. Rows with the same primary keys are replaced."""
        start = 0
        while start < len(rows):
            end, total = start, 0
            while end < len(rows) and (end == start or total + size(rows[end]) <= CALL_BYTES):
                total += size(rows[end])
                end += 1
            self.call("upsert", collection, list(rows[start:end]), timeout=6 * self.address.timeout)
            start = end

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Delete rows by their primary keys."""
        for expression in split_any_of("id", ids):  # the client would write ids into an expression without escapes
            filter_ = self._of_tenant(expression)
            self.call("delete", collection, filter=filter_, timeout=6 * self.address.timeout)

    def now(self) -> int:
        """Return a timestamp of the server: reads that wait for it see all earlier writes. 0 if it has none."""
        if not self.features.timestamps:
            return 0
        return self.run(lambda left: int(self._connected()._get_connection().alloc_timestamp(timeout=left)))

    # --- reading ---------------------------------------------------------------------------------------------

    def query(self, collection: str, expression: str, fields: Sequence[str], since: int, limit: int = MOST) -> Any:
        """Return rows that meet an expression, at most ``limit``, with every write up to the timestamp ``since``."""
        options: dict[str, Any] = {"output_fields": list(fields), **self.consistency(since)}
        if not any(name.startswith("count(") for name in fields):
            options["limit"] = limit
        return self.call("query", collection, filter=self._of_tenant(expression), **options)

    def count(self, collection: str, expression: str, since: int) -> int:
        """Return the number of rows that meet an expression."""
        return int(self.query(collection, expression, ["count(*)"], since)[0]["count(*)"])

    def all(self, collection: str, expression: str, fields: Sequence[str], since: int) -> list[Any]:
        """Return all rows that meet an expression, also where they are more than one answer may have."""
        rows: list[Any] = self.query(collection, expression, fields, since)
        if len(rows) < MOST:
            return list(rows)
        iterator = self.call(
            "query_iterator",
            collection,
            filter=self._of_tenant(expression),
            output_fields=list(fields),
            batch_size=4096,
            **self.consistency(since),
        )
        rows = []
        try:
            while page := self.run(lambda _: iterator.next()):
                rows += page
        finally:
            iterator.close()
        return rows

    def search(
        self,
        collection: str,
        field: str,
        query: Any,
        *,
        expression: str,
        limit: int,
        parameters: Mapping[str, Any],
        fields: Sequence[str],
        since: int,
    ) -> list[Any]:
        """Return the best ``limit`` rows for a dense or sparse query vector, best first, with their ``distance``."""
        (hits,) = self.call(
            "search",
            collection,
            data=[query],
            anns_field=field,
            filter=self._of_tenant(expression),
            limit=limit,
            output_fields=list(fields),
            search_params={"metric_type": "IP", "params": dict(parameters)},
            **self.consistency(since),
        )
        return list(hits)

    def has_other_tenants(self, collection: str) -> bool:
        """Return whether there are rows of other tenants than the address's in a collection."""
        others = f'tenant != "{self.address.tenant or ""}"'
        options = {"output_fields": ["tenant"], "limit": 1, **self.consistency(-1)}
        return bool(self.call("query", collection, filter=others, **options))

    def _of_tenant(self, expression: str) -> str:
        """Return an expression that selects rows of this tenant only."""
        if not self.address.tenant:
            return expression
        return f'tenant == "{self.address.tenant}"' + (f" and ({expression})" if expression else "")

    def consistency(self, since: int) -> Mapping[str, Any]:
        """Return the options of a read that sees every write up to the timestamp ``since``; -1 sees all (slow)."""
        if since < 0 or not self.features.timestamps:
            return {"consistency_level": "Strong"}
        return {"consistency_level": "Customized", "guarantee_timestamp": max(since, 1)}

    def close(self) -> None:
        """Close the connection; any use afterwards raises CollectionError."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()


def _reason(problem: Exception) -> str:
    """Return the message of an error of the client, in one line without its code."""
    text = " ".join(str(getattr(problem, "message", None) or problem).split())
    return re.sub(r"^<?\w*Exception: \(code=\d+, message=", "", text)
