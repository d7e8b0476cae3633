"""Any judge behind an OpenAI-compatible address on this machine, for tests and benches."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from critica.records.words import Message
from critica.rewards.judge_base import JudgeClient, JudgeTrouble

PATIENCE_SECONDS = 60.0


class _Listener(ThreadingHTTPServer):
    """Many may call at the same instant: a connection that the queue has no room for is tried again a second later."""

    daemon_threads = True
    request_queue_size = 1024


class JudgeServer:
    """Serves a live judge on 127.0.0.1 at a free port, from its own threads. A context manager.

    `seen` holds what was asked (headers and body), `most_at_once` how many questions were open at one time. A judge in
    trouble answers with status 503, or 400 where asking again is of no use.
    """

    def __init__(self, judge: JudgeClient) -> None:
        self.seen: list[tuple[Mapping[str, str], dict[str, Any]]] = []
        self.most_at_once = 0
        self._open = 0
        self._lock = threading.Lock()
        self._server = _Listener(("127.0.0.1", 0), self._handler(judge))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """For `HttpJudge.url`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def _handler(self, judge: JudgeClient) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """One question."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                with server._lock:
                    server._open += 1
                    server.most_at_once = max(server.most_at_once, server._open)
                    server.seen.append((dict(self.headers), body))
                messages = [Message(m["role"], m["content"]) for m in body["messages"]]
                try:
                    reply = judge.complete(messages, int(body.get("seed", 0)), PATIENCE_SECONDS)
                    message = {"role": "assistant", "content": reply.text}
                    status, content = 200, {"choices": [{"message": message}], "usage": {"total_tokens": reply.tokens}}
                except JudgeTrouble as trouble:
                    status, content = 503 if trouble.again else 400, {"error": str(trouble)}
                finally:
                    with server._lock:
                        server._open -= 1
                self._send(status, json.dumps(content).encode())

            def _send(self, status: int, payload: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler

    def close(self) -> None:
        """Stop serving. The judge stays with whoever made it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
