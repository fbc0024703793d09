"""Attacks by hostile callers, a failing Hub and hostile repositories."""
