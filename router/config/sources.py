"""The files with the operator's models and the callers' keys."""

from __future__ import annotations

from dataclasses import dataclass

from router.config.settings import Settings

_FILES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Sources:
    """Paths, or None for no file. `keys` is the number of keys in the keys file."""

    models_file: str | None = None
    keys_file: str | None = None
    keys: int = 0

    @classmethod
    def of(cls, settings: Settings, keys: int) -> Sources:
        models, path = settings.models_config, settings.api_keys_file
        file = models if models is not None and is_path(models) else None
        return cls(file, None if path is None else str(path), keys)

    def __str__(self) -> str:
        """A text for the log of a reload."""
        models = self.models_file or "no models file (MODELS_CONFIG names none)"
        keys = f"{self.keys} keys of {self.keys_file}" if self.keys_file else "no keys file"
        return f"{models}, {keys}"


def is_path(text: str) -> bool:
    """Whether MODELS_CONFIG is the path of a file, rather than YAML."""
    return "\n" not in text and (text.startswith("/") or text.endswith(_FILES))
