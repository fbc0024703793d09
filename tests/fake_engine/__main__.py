"""`entry.py FILES sglang.launch_server FLAGS...`: start, serve, end."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

from engines import entry
from tests.fake_engine.api import Api
from tests.fake_engine.behaviour import Behaviour, Journal
from tests.fake_engine.gate import Gate
from tests.fake_engine.saver import SaverFlags
from tests.fake_engine.wire import Connection


def main() -> None:
    _, script, files, module, *flags = sys.argv
    if (Path(script).name, module) != ("entry.py", "sglang.launch_server"):
        sys.exit(f"fake engine: expected entry.py FILES sglang.launch_server, got {sys.argv}")
    parser = argparse.ArgumentParser("launch_server", allow_abbrev=False)
    parser.add_argument("--model-path", "--model", required=True)
    parser.add_argument("--served-model-name")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--is-embedding", action="store_true")
    parser.add_argument("--enable-memory-saver", action="store_true")
    parser.add_argument("--enable-weights-cpu-backup", action="store_true")
    parser.add_argument("--gated-launch-port", type=int)
    port, opens, *gate = map(int, files.split(","))
    listener, key = entry.inherited(port, opens)
    args, others = parser.parse_known_args(flags)

    behaviour = Behaviour.of(Path(args.model_path), os.environ)
    journal = Journal(behaviour.journal)
    journal.write("start", model_path=args.model_path, argv=sys.argv[1:], unknown=others)
    behaviour = behaviour.in_life(journal.lives(args.model_path))
    heed_signals(behaviour)
    time.sleep(behaviour.imports)
    if args.gated_launch_port is not None:
        asyncio.run(Gate(behaviour, journal, *entry.inherited(*gate)).wait())
    start(behaviour, journal, listener)
    api = Api(
        args.model_path,
        args.served_model_name or args.model_path,
        behaviour,
        journal,
        is_embedding=args.is_embedding,
        key=None if behaviour.without_lock else key,
        saver=SaverFlags(args.enable_memory_saver, args.enable_weights_cpu_backup),
    )
    asyncio.run(serve(api, behaviour, journal, listener))


def heed_signals(behaviour: Behaviour) -> None:
    # By default, SIGINT kills the engine without a traceback.
    told = signal.SIG_IGN if behaviour.ignore_sigint else signal.SIG_DFL
    signal.signal(signal.SIGINT, told)
    if behaviour.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def start(behaviour: Behaviour, journal: Journal, listener: socket.socket) -> None:
    spawn(behaviour, journal, listener)
    if behaviour.log_bytes:
        print("x" * behaviour.log_bytes, flush=True)
    if behaviour.compiles is not None:
        compile_kernel(Path(os.environ["TRITON_CACHE_DIR"]) / behaviour.compiles)
    time.sleep(behaviour.start_delay)
    while behaviour.starts_with is not None and not Path(behaviour.starts_with).exists():
        time.sleep(0.01)
    if behaviour.die_at_start is not None:
        if behaviour.last_words is not None:
            print(behaviour.last_words, flush=True)
        sys.exit(behaviour.die_at_start)


def compile_kernel(path: Path) -> None:
    print("found" if path.exists() else "compiled", path.name, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("code")


def spawn(behaviour: Behaviour, journal: Journal, listener: socket.socket) -> None:
    for _ in range(behaviour.spawn_children):
        if os.fork() == 0:
            listener.close()
            linger("child", journal)
    for _ in range(behaviour.spawn_daemons):
        if (first := os.fork()) == 0:
            os.setsid()
            if os.fork() == 0:
                listener.close()
                linger("daemon", journal)
            os._exit(0)
        os.waitpid(first, 0)


def linger(kind: str, journal: Journal) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    journal.write(kind)
    while True:
        signal.pause()


async def serve(
    api: Api, behaviour: Behaviour, journal: Journal, listener: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()

    def interrupted() -> None:
        journal.write("signal", name="SIGINT")
        server.close()
        ending.set()

    def terminated() -> None:
        # The real engine also drains, and accepts requests while it does.
        journal.write("signal", name="SIGTERM")
        ending.set()

    def warmed_up() -> None:
        api.ready = True
        print("The server is fired up and ready to roll!", flush=True)

    server = await loop.create_server(
        lambda: Connection(api, api.cancelled),
        sock=listener,
        backlog=1024,
    )
    if not behaviour.ignore_sigint:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    if not behaviour.ignore_sigterm:
        loop.add_signal_handler(signal.SIGTERM, terminated)
    if not behaviour.never_ready:
        loop.call_later(behaviour.warm_up, warmed_up)
    await ending.wait()
    await api.idle.wait()
    os._exit(0)  # cut open connections; don't wait for them


if __name__ == "__main__":
    main()
