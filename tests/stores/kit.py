"""What tests of storage share: a store of a folder, and the text of a refusal."""

import pytest

from loader.access import DEFAULT
from loader.errors import StorageError
from loader.storage import LocalStorageBlock
from loader.stores import store_of


def local(path, access=DEFAULT, *, trusted=True):
    """The store of a local folder."""
    return store_of(LocalStorageBlock(storage_path=str(path)), access, trusted=trusted)


def refusal(call, *arguments, **options):
    """What a call says that must be refused."""
    with pytest.raises(StorageError) as caught:
        call(*arguments, **options)
    assert str(caught.value).startswith("cannot ")
    return str(caught.value)
