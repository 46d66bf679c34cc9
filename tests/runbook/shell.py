"""One shell in which a page's commands are typed, one after the other, with a deadline for each."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.runbook.blocks import Command

LIMIT_S = 60.0
SEEN_S = 30.0  # for what is looked at again until it is so
PAUSE_S = 0.1
MARK = "--- done"
# Questions: asked again until the answer has what the page says. Acts are done once.
QUESTION = re.compile(r"(\w+=\S+ )*avwapd (ctl (status|positions|orders|gates|acts|alerts|metrics)\b|check\b)")


class Shell:
    """Whatever it starts ends with it."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._staying: list[tuple[int, Path]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        """The session is ours alone: asked to end, then made to."""
        for sign, patience_s in ((signal.SIGCONT, 0.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            end = time.monotonic() + patience_s
            try:
                os.killpg(self._process.pid, sign)
                while time.monotonic() < end:
                    os.killpg(self._process.pid, 0)
                    self._process.poll()
                    time.sleep(PAUSE_S)
            except ProcessLookupError:
                break
        self._process.wait(5)
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    # ------------------------------------------------------------------------------------------------- typing

    def typed(self, text: str) -> tuple[int, str]:
        """Exit code and output of one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{{ {text}\n}} </dev/null\nprintf '\\n{MARK} %d\\n' $?\n")
        self._process.stdin.flush()
        lines: list[str] = []
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not done within {LIMIT_S:g} s: {text}\n{''.join(lines)}") from None
            assert line is not None, f"the shell ended at: {text}\n{''.join(lines)}"
            if line.startswith(MARK):
                return int(line.split()[-1]), "".join(lines)
            lines.append(line)

    def run(self, command: Command) -> None:
        """Type it; a question again, until all that the page says is seen."""
        end = time.monotonic() + (SEEN_S if QUESTION.match(command.text) else 0)
        while True:
            code, output = self.typed(command.text)
            lacking = command.lacking(output)
            if code in command.exits and not lacking:
                break
            if time.monotonic() > end:
                raise AssertionError(
                    f"{command.where}: {command.text}\nexit {code}, the page says {command.exits}; "
                    f"not seen: {lacking}\n{output[-2500:]}{self._told()}"
                )
            time.sleep(PAUSE_S)
        if command.text == "avwapd ctl stop":
            self._ended(command)

    def stay(self, command: Command) -> None:
        """Start it beside the shell; what the page says is looked for in its output."""
        log = self._folder / f"stays-{len(self._staying)}.log"
        code, output = self.typed(f"{command.text} >{log} 2>&1 & echo $!")
        assert code == 0, output
        self._staying.append((int(output), log))
        end = time.monotonic() + SEEN_S
        while command.lacking(told := log.read_text(errors="replace") if log.exists() else ""):
            assert time.monotonic() < end, f"{command.where}: {command.text}\n{command.lacking(told)}\n{told[-1500:]}"
            time.sleep(PAUSE_S)

    def _ended(self, command: Command) -> None:
        """The daemon that was asked to stop has to leave with 0."""
        pid, _ = self._staying[-1]
        code, output = self.typed(f"wait {pid}")
        assert code == 0, f"{command.where}: the daemon left with {code}\n{output}{self._told()}"

    def _told(self) -> str:
        if not self._staying:
            return ""
        pid, log = self._staying[-1]
        return f"\n--- pid {pid}, {log.name}:\n{log.read_text(errors='replace')[-1500:]}"
