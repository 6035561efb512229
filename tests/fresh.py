"""Processes to which everything of lifegen is new, for a tenth of what they cost.

Importing torch, Avalanche and other libraries takes a process seven seconds of CPU time. A server imports them once for
all tests, and nothing of lifegen. Two programs, ``lifegen`` and ``python``, have it fork a process that runs what they
were asked to, with their arguments, variables, folder and open files, and end with its exit code. The process that
lifegen forks its workers from is forked from the libraries in the same way, where it would be started.

What is killed or interrupted has to be a real command: a signal to these programs ends them alone.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from functools import cache, partial
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn

SHARED = "LIFEGEN_TESTS"
"""The variable with the folder of a test session, whose name ends in the number of its first process. conftest.py makes
the folder."""
CLIENT = """
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    request = {"program": sys.argv[2], "arguments": sys.argv[3:], "folder": os.getcwd(), "variables": dict(os.environ)}
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps(request).encode())
    server.shutdown(socket.SHUT_WR)
    code = int(server.recv(9) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


# For tests


def lifegen(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process to which lifegen is new; options are those of subprocess.run."""
    line = [programs() / "lifegen", *map(str, arguments)]
    return subprocess.run(line, **{"capture_output": True, "text": True, "check": False, **options})


def python(file: Path, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a file in a process to which lifegen is new."""
    line = [programs() / "python", str(file), *map(str, arguments)]
    return subprocess.run(line, **{"capture_output": True, "text": True, "check": False, **options})


@cache
def programs() -> Path:
    """The folder of the two programs, with the server running: it is begun once, and ends with the tests."""
    folder = Path(os.environ[SHARED], "fresh")
    address = folder / "server"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            (folder / "client.py").write_text(CLIENT)
            for name in ("lifegen", "python"):
                line = f'exec "{sys.executable}" -IS "{folder / "client.py"}" "{address}" {name} "$@"'
                (folder / name).write_text(f"#!/bin/sh\n{line}\n")
                (folder / name).chmod(0o755)
            server = subprocess.Popen(
                [sys.executable, "-P", __file__, str(address), folder.parent.name.rpartition("-")[2]],
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            assert server.stdout.readline()
            server.stdout.close()
            server.returncode = 0  # it outlives this process, which needn't be warned of it
    return folder


# The server

LIBRARIES = ("avalanche.benchmarks", "avalanche.training", "click", "jsonschema", "pandas", "pebble", "pydantic",
             "rich.console", "safetensors.torch", "scipy.stats", "sklearn.datasets", "torchvision")  # fmt: skip


def serve(address: Path, tests: int) -> None:
    """Fork a process for each request, as long as the process of the tests is there."""
    with warnings.catch_warnings(action="ignore"):
        for library in LIBRARIES:
            importlib.import_module(library)
    assert not [name for name in sys.modules if name.startswith("lifegen")]
    gc.freeze()  # what processes share is left alone, and needn't be copied
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        print("ready", flush=True)
        while Path(f"/proc/{tests}").exists() and address.exists():
            if select.select([listener], [], [], 1.0)[0]:
                asked = listener.accept()[0]
                if not os.fork():
                    listener.close()
                    answer(asked)
                asked.close()
            reap()


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def answer(asked: socket.socket) -> NoReturn:
    """Fork the process that was asked for, and tell how it ends."""
    _, files, *_ = socket.recv_fds(asked, 1, 3)
    request = json.loads(b"".join(iter(lambda: asked.recv(2**16), b"")))
    if process := os.fork():
        asked.sendall(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
        os._exit(0)
    asked.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["variables"])
    os.chdir(request["folder"])
    begin_servers_by_forking()
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if request["program"] == "lifegen":
        sys.argv = [str(Path(sys.executable).with_name("lifegen")), *request["arguments"]]
    else:
        sys.argv = request["arguments"]
        sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    end_with(partial(runpy.run_path, sys.argv[0], run_name="__main__"))


def end_with(program: Callable[[], object]) -> NoReturn:
    """Run a program and end this process, all but for the freeing of what was imported: that takes seconds."""
    code: object = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


def begin_servers_by_forking() -> None:
    """Fork a process that waits until this one's ``multiprocessing`` wants to start a server to fork workers from, and
    then is that server."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)  # a message comes whole
    if process := os.fork():
        theirs.close()
        util.spawnv_passfds = partial(spawn, util.spawnv_passfds, ours, process)
        return
    ours.close()
    message, files, *_ = socket.recv_fds(theirs, 2**20, 16)
    if not message:
        os._exit(0)
    order = json.loads(message)
    theirs.close()
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, 100) for file in files]
    for file, number in zip(high, order["files"], strict=True):
        os.dup2(file, number, inheritable=False)
    for file in {*high, *files} - set(order["files"]):
        os.close(file)
    os.environ.clear()
    os.environ.update(order["variables"])
    end_with(partial(exec, order["code"], {"__name__": "__main__"}))


def spawn(usual: Any, ours: socket.socket, process: int, path: Any, line: list[Any], files: list[int]) -> int:
    """In place of ``multiprocessing.util.spawnv_passfds``."""
    code = os.fsdecode(line[-1])
    if "forkserver" not in code or ours.fileno() < 0:
        return usual(path, line, files)
    order = {"code": code, "files": list(files), "variables": dict(os.environ)}
    socket.send_fds(ours, [json.dumps(order).encode()], list(files))
    ours.close()
    return process


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
