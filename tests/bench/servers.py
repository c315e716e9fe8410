"""The servers of the router's benchmark, as processes: nginx answering for the models, and those
that stand in front of it - our router, nginx, sglang-router, litellm. It measures nothing."""

# ruff: noqa: S310 - every URL here is one of our own on the loopback

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.ocr import Delta, Done, Text, Usage
from shared.wire import fleet
from tests.running import COMMAND, environment, free_port

ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
"""It reads a body before it answers; nginx' own `return` answers first and drops what comes."""

UP_S_MAX = 90.0
"""litellm imports for half a minute."""

TEXT = "A page of a few words, read by nobody."
COMPLETION = (
    '{"id":"chatcmpl-0","object":"chat.completion","created":1,"model":"LightOnOCR-1B-1025",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"' + TEXT + '"},'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)
WIRES = ("lighton", "deepseek", "chatvlm")

SETTINGS = """
daemon off; worker_processes 1; error_log stderr crit; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 20m;
  keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
"""
"""One worker, for the router is one process too; bodies in memory, as the router has them."""

ANSWERING = """
  server {{
    listen 127.0.0.1:{port};
    location / {{
      if ($http_x_ocr_fleet) {{ rewrite ^ /fleet last; }}
      echo_read_request_body; echo_exec @plain;
    }}
    location = /fleet {{ echo_read_request_body; echo_exec @fleet; }}
    location @plain {{ return 200 '{plain}'; }}
    location @fleet {{
      add_header x-ocr-fleet 1; add_header x-ocr-size 800x600; add_header x-ocr-engine nginx;
      default_type application/x-ndjson; return 200 '{fleet}';
    }}
  }}
"""

PROXYING = """
  upstream models {{
    server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://models; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
"""


class NotThere(Exception):
    """A server cannot be had; the message says what to install, or how it ended."""


class Server:
    """A running server."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.pid = process.pid


@contextmanager
def models(folder: Path) -> Iterator[dict[str, str]]:
    """nginx with a fixed answer for each wire; their base URLs."""
    nginx = _program("nginx", "nginx-light")
    if not ECHO.exists():
        raise NotThere("nginx has no echo module: apt-get install libnginx-mod-http-echo")
    deltas: list[Delta] = [Text(TEXT), Done(usage=Usage(9, 9))]
    lines = b"".join(fleet.DeltaWriter().write(delta) for delta in deltas).decode()
    ports = {wire: free_port() for wire in WIRES}
    servers = [
        ANSWERING.format(port=port, plain=COMPLETION, fleet=lines) for port in ports.values()
    ]
    text = f"load_module {ECHO};" + SETTINGS.format(folder=folder) + "".join(servers) + "}"
    with _nginx(nginx, folder, text, ports["lighton"]):
        yield {wire: f"http://127.0.0.1:{port}" for wire, port in ports.items()}


@contextmanager
def nginx_proxy(folder: Path, upstream: Mapping[str, str]) -> Iterator[Server]:
    """nginx in front of the one wire that everybody speaks."""
    port = free_port()
    text = SETTINGS.format(folder=folder)
    text += PROXYING.format(port=port, upstream=upstream["lighton"].rpartition(":")[2]) + "}"
    with _nginx(_program("nginx", "nginx-light"), folder, text, port) as server:
        yield server


@contextmanager
def router(folder: Path, upstream: Mapping[str, str]) -> Iterator[Server]:
    """`ocr-fleet serve router`, as in the field."""
    entries = [
        f'[services.{wire}]\nreplicas = ["{url}"]\nslots = 256\n' for wire, url in upstream.items()
    ]
    (folder / "fleet.toml").write_text("\n".join(["[router]", *entries]))
    port = free_port()
    ports = {"OCR_FLEET_ROUTER_LEGACY_PORT": "0", "OCR_FLEET_FILE": str(folder / "fleet.toml")}
    command = [*COMMAND, "serve", "router", "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, folder, port, "/readyz", environment("fake", ports)) as server:
        yield server


@contextmanager
def sglang_router(folder: Path, upstream: Mapping[str, str]) -> Iterator[Server]:
    python = _environment("sglang-router") / "bin" / "python"
    port, metrics = free_port(), free_port()
    command = [
        *(str(python), "-m", "sglang_router.launch_router", "--host", "127.0.0.1"),
        *("--port", str(port), "--prometheus-port", str(metrics), "--log-level", "warn"),
        *("--worker-urls", upstream["lighton"], "--policy", "round_robin"),
    ]
    with _running(command, folder, port, "/readiness", dict(os.environ)) as server:
        yield server


@contextmanager
def litellm(folder: Path, upstream: Mapping[str, str]) -> Iterator[Server]:
    program = _environment("litellm") / "bin" / "litellm"
    port = free_port()
    (folder / "litellm.yaml").write_text(
        "model_list:\n- model_name: LightOnOCR-1B-1025\n  litellm_params:\n"
        f"    model: openai/LightOnOCR-1B-1025\n    api_base: {upstream['lighton']}/v1\n"
        "    api_key: none\n"
    )
    command = [str(program), "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, folder, port, "/health/liveliness", dict(os.environ)) as server:
        yield server


PACKAGES: Mapping[str, str] = {"sglang-router": "sglang-router", "litellm": "litellm[proxy]"}


def environments() -> Path:
    """Where the contestants' environments are kept from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "ocr-fleet" / "bench"


def install(name: str) -> None:
    """An environment with the contestant in it, where there is none yet."""
    folder = environments() / name
    if (folder / "installed").exists():
        return
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "-q", "install", PACKAGES[name]]
    subprocess.run(pip, check=True)
    (folder / "installed").touch()


def _environment(name: str) -> Path:
    folder = environments() / name
    if not (folder / "installed").exists():
        raise NotThere("not installed: run with --install")
    return folder


def _program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise NotThere(f"{name} is missing; on Debian and Ubuntu: apt-get install {package}")
    return found


@contextmanager
def _nginx(program: str, folder: Path, settings: str, port: int) -> Iterator[Server]:
    if os.geteuid() == 0:
        settings += "user root;"  # or its worker may not write where this process may
    (folder / "nginx.conf").write_text(settings)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with _running(command, folder, port, "/", dict(os.environ)) as server:
        yield server


@contextmanager
def _running(
    command: Sequence[str], folder: Path, port: int, path: str, environ: Mapping[str, str]
) -> Iterator[Server]:
    """The process, once the path answers 200."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + UP_S_MAX
        while not _answers(url + path):
            if process.poll() is not None or time.monotonic() > ends:
                raise NotThere("did not start: " + log.read_text(errors="replace")[-600:].strip())
            time.sleep(0.1)
        yield Server(url, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
