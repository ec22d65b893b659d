"""Object stores as storage, by the drivers of fsspec.

What a driver says of a failure is put into our own words: it may quote what it was given, secrets included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from loader.access import Access
from loader.errors import SourceError, StorageError
from loader.sources import drivers, reasons, remote
from loader.sources.deadline import Deadline
from loader.sources.locations import Location
from loader.stores.policy import AZURE_HOSTS
from loader.stores.store import Place

T = TypeVar("T")
GOOGLE_TOKENS = "https://oauth2.googleapis.com/token"
GOOGLE = "googleapis.com"
FIELD_CAP = 4096
"""Characters of one field of an account: to read a key takes time by the cube of its size."""
GOOGLE_ACCOUNT = frozenset(
    "type project_id private_key_id private_key client_email client_id auth_uri token_uri"
    " auth_provider_x509_cert_url client_x509_cert_url universe_domain".split()
)
"""What a key file of a service account holds."""


class Objects(Place):
    """What lies below a location, reached with ``options`` before those of the caller's for its scheme."""

    def __init__(self, location: Location, options: Mapping[str, Any], access: Access) -> None:
        self.shown = location.shown
        self._location = location
        # Half of one identity and half of another is nobody's.
        ours = {name for group in IDENTITIES if group & set(options) for name in group}
        configured = drivers.options(location, access)
        kept = {name: value for name, value in configured.items() if name not in ours}
        # A region does not take back the caller's endpoint.
        client = {**kept.get("client_kwargs", {}), **options.get("client_kwargs", {})}
        merged = {**kept, **options, **({"client_kwargs": client} if client else {})}
        self._access = replace(access, options={location.scheme: merged})

    def read(self, name: str) -> bytes:
        """The bytes of an object. Raises StorageError."""
        place = self._at(name)
        cap = self._access.size

        def plain(system: Any) -> bytes:
            return remote.plain_file(system, place, cap)

        return self._run("read", name, plain, lambda system: remote.async_file(system, place, cap))

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes in an object. Raises StorageError."""
        path = drivers.inner_path(self._at(name))

        def plain(system: Any) -> None:
            system.pipe_file(path, data)

        self._run("write", name, plain, lambda system: sent(system, path, data))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there. Raises StorageError."""
        path = drivers.inner_path(self._at(name))

        def plain(system: Any) -> None:
            if system.exists(path):
                system.rm_file(path)

        self._run("remove", name, plain, lambda system: absent(system, path))

    def _at(self, name: str) -> Location:
        return self._location.at(f"{self._location.path}/{name}")

    def _run(
        self,
        verb: str,
        name: str,
        plain: Callable[[Any], T],
        work: Callable[[Any], Coroutine[Any, Any, T]],
    ) -> T:
        """What the driver comes to. Raises StorageError for whatever it raises."""
        what = f"cannot {verb} {name} of {self.shown}"
        deadline = Deadline(self.shown, self._access.seconds)
        try:
            system = drivers.made(self._location, self._access, deadline)
            if system.async_impl:
                return drivers.run(closing(system, work(system)), deadline)
            return plain(system)
        except SourceError as error:
            # It is one of ours, and holds no secret.
            raise StorageError(f"{what}: {str(error).partition(': ')[2] or error}") from None
        except ImportError:
            extra = drivers.DRIVERS[self._location.kind].extra
            raise StorageError(
                f"{what}: a part of its driver is missing; pip install 'flow-loader[{extra}]'"
            ) from None
        except TimeoutError:
            raise StorageError(
                f"{what}: it took longer than {self._access.seconds:g} seconds; try again"
            ) from None
        except Exception as error:
            raise StorageError(f"{what}: {in_words(error)}") from None


IDENTITIES = (
    frozenset({"key", "secret", "token", "profile", "anon", "username", "password", "session"}),
    frozenset({"account_name", "account_key", "sas_token", "connection_string", "credential", "anon"}),
)
"""Options that say together who asks."""


async def sent(system: Any, path: str, data: bytes) -> None:
    """Write a file."""
    await system._pipe_file(path, data)  # noqa: SLF001 - fsspec's own interface on its loop


async def absent(system: Any, path: str) -> None:
    """Remove a file, if it is there."""
    try:
        await system._rm_file(path)  # noqa: SLF001 - the same
    except FileNotFoundError:
        return


async def closing(system: Any, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` comes to; the driver's connections are closed after it."""
    try:
        return await remote.closing(system, work)
    finally:
        service = getattr(system, "service_client", None)
        if service is not None:
            await service.close()


def in_words(error: Exception) -> str:
    """Why a driver failed, in words of ours."""
    found = reasons.reason(error, {})
    if found == reasons.NO_FILE:
        return "it is not there, or what it lies in is not"
    if found.startswith(type(error).__name__):
        return f"its driver failed with {type(error).__name__}; check the block and its credentials"
    return found


# --- what blocks say to drivers ------------------------------------------------------------------


def s3_options(held: Mapping[str, Any], *, trusted: bool) -> dict[str, Any]:
    """The options of an S3 Storage block. Raises StorageError.

    A profile stands for credentials of the caller's own: only a ``trusted`` block may choose one.
    """
    if not trusted and held["profile_name"] is not None:
        raise StorageError(
            "cannot use the S3 Storage: a spec may not choose a profile_name, for that is one of the caller's"
            " own; leave it out, or register the block as the caller"
        )
    names = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "profile_name": "profile",
    }
    options: dict[str, Any] = {new: held[old] for old, new in names.items() if held[old] is not None}
    region = held["region_name"]
    if region is not None:
        if re.fullmatch(r"[a-z0-9-]{1,40}", region) is None:
            raise StorageError("cannot use the S3 Storage: its region_name is no name of a region")
        options["client_kwargs"] = {"region_name": region}
    return options


def google_options(held: Mapping[str, Any], *, trusted: bool) -> dict[str, Any]:
    """The options of a Google Cloud Storage block. Raises StorageError.

    The account's data names where tokens are fetched: only Google's own place is taken. Unless it is
    ``trusted``, it may say nothing that could name another host.
    """
    options: dict[str, Any] = {} if held["project"] is None else {"project": held["project"]}
    account = held["service_account_info"]
    if account is not None:
        if any(len(str(value)) > FIELD_CAP for value in account.values()):
            raise StorageError(
                f"cannot use the Google Cloud Storage: a field of its service_account_info has more than"
                f" {FIELD_CAP} characters, and no key of Google's has so many"
            )
        fine = account.get("type") == "service_account"
        if not fine or account.get("token_uri", GOOGLE_TOKENS) != GOOGLE_TOKENS:
            raise StorageError(
                f"cannot use the Google Cloud Storage: its service_account_info must be of the type"
                f" service_account, with the token_uri {GOOGLE_TOKENS}"
            )
        if not trusted and (
            set(account) - GOOGLE_ACCOUNT or account.get("universe_domain", GOOGLE) != GOOGLE
        ):
            raise StorageError(
                f"cannot use the Google Cloud Storage: the spec's service_account_info may hold what Google's"
                f" key files do, with the universe_domain {GOOGLE}, and nothing else; register the block as"
                f" the caller"
            )
        options["token"] = {"token_uri": GOOGLE_TOKENS, **account}
    return options


def azure_account(location: Location, options: Mapping[str, Any]) -> dict[str, str]:
    """The account that a block names, as a connection string: the driver asks its surroundings for nothing.

    Otherwise it would send that account whatever keys and tokens of the caller it finds. Raises StorageError.
    """
    if isinstance(options.get("connection_string"), str):
        return {"connection_string": options["connection_string"]}
    keys = {"AccountKey": options.get("account_key"), "SharedAccessSignature": options.get("sas_token")}
    given = {name: value.removeprefix("?") for name, value in keys.items() if isinstance(value, str)}
    whole = "account_name" in options and len(given) + (options.get("anon") is True) == 1
    if not whole or any(";" in str(value) for value in options.values()):
        raise StorageError(
            f"cannot use {location.shown} as storage: a block that says who asks gives its account_name and"
            f" either its account_key, its sas_token or anon: true; give both, or leave its options out"
        )
    pairs = {"AccountName": options["account_name"], **given}
    if "account_host" in options:
        pairs["BlobEndpoint"] = f"https://{options['account_host']}"
    return {"connection_string": ";".join(f"{name}={value}" for name, value in pairs.items())}


def azure_options(held: Mapping[str, Any], *, any_host: bool) -> dict[str, Any]:
    """The options of an Azure Blob Storage block. Raises StorageError.

    Unless ``any_host`` is allowed, its connection string may name an account and its keys, and no host.
    """
    text = held["connection_string"]
    if not any_host:
        pairs = dict(item.partition("=")[::2] for item in text.split(";") if item)
        parts = {name.strip().lower(): value.strip() for name, value in pairs.items()}
        known = {
            "defaultendpointsprotocol",
            "accountname",
            "accountkey",
            "sharedaccesssignature",
            "endpointsuffix",
        }
        fine = (
            set(parts) <= known
            and len(parts) == len([item for item in text.split(";") if item])
            and parts.get("defaultendpointsprotocol", "https").lower() == "https"
            and parts.get("endpointsuffix", AZURE_HOSTS) == AZURE_HOSTS
            and re.fullmatch(r"[a-z0-9]{3,24}", parts.get("accountname", "")) is not None
        )
        if not fine:
            raise StorageError(
                "cannot use the Azure Blob Storage: the spec's connection_string may name an account of Azure"
                " and its keys over https, and nothing else; register the block as the caller"
            )
    return {"connection_string": text}
