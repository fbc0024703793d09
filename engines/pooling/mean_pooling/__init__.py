"""Models for SGLang: it looks for them here if `SGLANG_EXTERNAL_MODEL_PACKAGE` names this."""
