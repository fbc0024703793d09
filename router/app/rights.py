"""Updates callers' rights while the process runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from router.access.authorize import Admission
from router.access.keyring import Keyring
from router.app.configuration import Configuration
from router.app.observers import Observers
from router.config.catalog import Catalog
from router.downloads.offline import OfflineHub
from router.hub.client import HuggingFaceHub

_log = logging.getLogger("router")


class Rights:
    """Applies newly read models and keys in every place that authorizes callers."""

    def __init__(
        self, configuration: Configuration, keys: Keyring, observers: Observers
    ) -> None:
        self._catalog, self._keys, self._observers = configuration.catalog, keys, observers
        self._tokens = dict(configuration.credentials.of_models)

    def become(
        self, read: Configuration, admission: Admission, hub: HuggingFaceHub | OfflineHub
    ) -> None:
        """Apply `read`. Former tokens are kept: work in progress may need them."""
        self._observers.redact.learn(read.keys.secrets)
        self._observers.recorder.forget_names()
        if read.keys.warning:
            _log.warning("%s", read.keys.warning)
        self._keys.become(read.keys.keys)
        self._catalog.become(read.catalog)
        self._observers.metrics.name_operators(repositories(read.catalog))
        self._tokens |= read.credentials.of_models
        admission.configure(replace(read.credentials, of_models=self._tokens))
        if isinstance(hub, OfflineHub):
            hub.name_operators(one.ref for one in read.catalog.models if one.ref is not None)


def repositories(catalog: Catalog) -> Iterator[str]:
    """The repositories of the operator's models; for a local directory, its name."""
    return (one.ref.repo_id if one.ref else one.name for one in catalog.models)
