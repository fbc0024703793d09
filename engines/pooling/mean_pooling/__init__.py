"""Models for SGLang, which finds them because `SGLANG_EXTERNAL_MODEL_PACKAGE` names this."""
