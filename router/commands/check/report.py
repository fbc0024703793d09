"""Shows the results of `check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from router.commands.check.verdict import MemoryNeed, ModelVerdict
from router.commands.output import Cell, Output, Row, size_text

_GOOD, _BAD = "green", "bold red"
_COLUMNS: tuple[str, ...] = (
    "model",
    "verdict",
    "task",
    "access",
    "download",
    "memory",
    "longest",
    "start",
)
_FILES_SHOWN = 12  # --json has all


@dataclass(frozen=True, slots=True)
class Report:
    verdicts: Sequence[ModelVerdict]
    budget: int  # bytes of each device, for all engines
    device: str
    sglang: str  # its version; empty: unknown
    notes: Sequence[str]  # about all models

    def show(self, output: Output, *, as_json: bool) -> None:
        if as_json:
            output.json(self._document())
            return
        if len(self.verdicts) == 1:
            self._one(output, self.verdicts[0])
        else:
            self._table(output)
            if any(one.refusal or one.notes for one in self.verdicts):
                output.line()
            for one in self.verdicts:
                self._remarks(output, one, f"{one.name}: ")
        for note in self.notes:
            output.line(f"note: {note}", "dim")

    def _table(self, output: Output) -> None:
        columns, rows = _COLUMNS, [_row(one) for one in self.verdicts]
        groups = [one.group.name if one.group else "" for one in self.verdicts]
        if any(groups):
            columns = (*columns, "group")
            rows = [(*row, group) for row, group in zip(rows, groups, strict=True)]
        output.table(columns, rows)

    def _document(self) -> dict[str, Any]:
        return {
            "can_be_served": all(one.refusal is None for one in self.verdicts),
            "device": self.device,
            "sglang": self.sglang,
            "budget_bytes": self.budget,
            "notes": list(self.notes),
            "models": [one.as_json() for one in self.verdicts],
        }

    def _one(self, output: Output, verdict: ModelVerdict) -> None:
        output.fields(
            [("model", verdict.name), ("verdict", _verdict(verdict)), *self._facts(verdict)]
        )
        if verdict.files:
            output.line()
            output.table(("file", "size", "on disk"), list(_files(verdict)))
        if verdict.refusal or verdict.notes:
            output.line()
            self._remarks(output, verdict, "")

    @staticmethod
    def _remarks(output: Output, verdict: ModelVerdict, about: str) -> None:
        if (refusal := verdict.refusal) is not None:
            output.line(f"{about}{refusal.message}", _BAD)
        for note in verdict.notes:
            output.line(f"{about}note: {note}", "dim")

    def _facts(self, verdict: ModelVerdict) -> Iterator[tuple[str, str]]:
        yield "asked with", verdict.asked_with
        if (model := verdict.model) is not None:
            yield "repository", f"{model.repo_id} ({model.access})"
            yield "commit", model.commit
            yield "task", str(model.task)
        if verdict.files:
            yield "download", _download(verdict)
        yield from _rules(verdict)
        if verdict.flags:
            yield "flags", " ".join(verdict.flags)
        if (need := verdict.memory) is not None:
            yield from self._memory(need)
        if verdict.start_seconds is not None:
            yield "start", f"{verdict.start_seconds:.0f} s, by earlier starts"

    def _memory(self, need: MemoryNeed) -> Iterator[tuple[str, str]]:
        each = f" on each of {need.gpus} GPUs" if need.gpus > 1 else ""
        yield "weights", size_text(need.weights) + each
        yield "to compute", size_text(need.overhead)
        state = f", {size_text(need.sequence)} per request" if need.sequence else ""
        yield "KV cache", f"{size_text(need.token)} per token{state}"
        tokens = f", with a cache of {need.tokens:,} tokens" if need.tokens is not None else ""
        how = " (measured)" if need.measured else ""
        yield "claim", f"{size_text(need.claim)} of {size_text(self.budget)}{tokens}{how}"
        yield (
            "context",
            f"{need.context:,} tokens; alone on the {_name(self.device)} {need.longest:,} fit",
        )


def _rules(verdict: ModelVerdict) -> Iterator[tuple[str, str]]:
    """The operator's rules for the model."""
    if (group := verdict.group) is not None:
        alone = ", and none beside them" if group.exclusive else ""
        yield "group", f"{group.name}: {group.max_loaded} loaded at a time{alone}"
    if verdict.max_concurrency is not None:
        yield "at once", f"{verdict.max_concurrency} requests"
    if verdict.max_queue is not None:
        yield "waiting", f"{verdict.max_queue} requests at most"


def _row(verdict: ModelVerdict) -> Row:
    model, need = verdict.model, verdict.memory
    start = verdict.start_seconds
    return (
        verdict.name,
        _verdict(verdict),
        str(model.task) if model else "",
        str(model.access) if model else "",
        _download(verdict) if verdict.files else "",
        size_text(need.claim) if need else "",
        f"{need.longest:,}" if need else "",
        "" if start is None else f"{start:.0f} s",
    )


def _verdict(verdict: ModelVerdict) -> Cell:
    if verdict.refusal is None:
        return Cell("ok", _GOOD)
    return Cell(verdict.refusal.code, _BAD)


def _download(verdict: ModelVerdict) -> str:
    left = verdict.to_download
    if not left:
        return "on disk"
    if left == verdict.size:
        return size_text(left)
    return f"{size_text(left)} of {size_text(verdict.size)}"


def _files(verdict: ModelVerdict) -> Iterator[Row]:
    largest = sorted(verdict.files, key=lambda file: file.size, reverse=True)
    for file in largest[:_FILES_SHOWN]:
        yield file.name, size_text(file.size), "yes" if file.on_disk else "no"
    if rest := largest[_FILES_SHOWN:]:
        yield f"{len(rest)} smaller files", size_text(sum(file.size for file in rest)), ""


def _name(device: str) -> str:
    return "GPU" if device == "cuda" else "CPU"
