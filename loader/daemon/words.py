"""What a daemon and its clients call a problem: the kinds that stand for an exception of the loader."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from loader.errors import ClientError, FlowLoaderError, ProfileError, SourceError

URN = "urn:flow-loader:problem:"
ERRORS: Mapping[str, type[FlowLoaderError]] = MappingProxyType(
    {"source": SourceError, "profile": ProfileError, "client": ClientError}
)
