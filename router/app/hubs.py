"""Makes the Hub client, or its offline replacement."""

from __future__ import annotations

from router.app.configuration import Configuration
from router.config.settings import Settings
from router.downloads.last_used import LastUsed
from router.downloads.offline import OfflineHub
from router.hub.client import HuggingFaceHub
from router.repository.directory import task_of_directory
from router.side_process import SideProcesses


def make_hub(settings: Settings, aside: SideProcesses | None = None) -> HuggingFaceHub:
    ca_file = str(settings.ssl_cert_file) if settings.ssl_cert_file else None
    return HuggingFaceHub(settings.hf_endpoint, ca_file=ca_file, aside=aside)


def any_hub(
    configuration: Configuration, public: LastUsed, aside: SideProcesses | None = None
) -> HuggingFaceHub | OfflineHub:
    """The Hub client, or with HF_HUB_OFFLINE its replacement.

    `public` records when each model was last seen public.
    """
    settings = configuration.settings
    if not settings.hf_hub_offline:
        return make_hub(settings, aside)
    models, own = configuration.catalog.models, configuration.credentials.secrets
    return OfflineHub(
        settings.hub_caches,
        operators=[model.ref for model in models if model.ref is not None],
        own_tokens=(*own, *([settings.hf_token] if settings.hf_token else [])),
        public=public,
        grace=settings.public_grace,
        unsafe_weights=settings.allow_unsafe_weights,
        task_of=task_of_directory,
    )
