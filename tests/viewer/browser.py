"""A headless Chromium, driven over its DevTools protocol by a loopback socket: as much as the report's tests need."""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1",
)  # fmt: skip
PATIENCE = 30.0  # seconds for one answer
KEYS = {  # key -> (code, virtual key code, text)
    "Tab": ("Tab", 9, ""), "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "Home": ("Home", 36, ""),
    "End": ("End", 35, ""), "ArrowLeft": ("ArrowLeft", 37, ""), "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, ""), " ": ("Space", 32, " "),
}  # fmt: skip


def find_chromium() -> str | None:
    """The path of a Chromium, if this machine has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class PageError(Exception):
    """The page's script raised."""


class Browser:
    """One Chromium with one page. What the console and the network said is kept in `complaints` and `requests`."""

    def __init__(self, path: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            port, browser_path = _port_of(folder / "DevToolsActivePort")
            self.socket = WebSocket(port, browser_path)
            self.count = 0
            self.session = ""
            self.complaints: list[str] = []
            self.requests: list[str] = []
            self.loaded = 0
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process that was started here."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One command of the protocol and its answer; events that come between are kept."""
        self.count += 1
        number = self.count
        message = {"id": number, "method": method, "params": arguments}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.receive())
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._keep(answer)

    def open(self, page: Path, width: int = 1280, height: int = 1000, dark: bool = False, anchor: str = "") -> None:
        """Load a file, with this size of window and this color scheme, and wait until it has loaded."""
        self.complaints, self.requests, self.loaded = [], [], 0
        self.look(width, height, dark)
        self.call("Page.navigate", url=page.resolve().as_uri() + anchor)
        limit = time.monotonic() + PATIENCE
        while not self.loaded and time.monotonic() < limit:
            self._keep(json.loads(self.socket.receive()))
        self.run("new Promise(done => requestIdleCallback(() => requestAnimationFrame(done)))")

    def look(self, width: int = 1280, height: int = 1000, dark: bool = False) -> None:
        """Change the window's size and the reader's color scheme."""
        phone = width < 640
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call(
            "Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}]
        )
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"].get("exception", {}).get("description", "unknown"))
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """A real click in the middle of the first visible element that matches."""
        x, y = self.run(
            f"""(() => {{
            const e = [...document.querySelectorAll({json.dumps(selector)})].find(e => e.checkVisibility());
            if (!e) throw new Error('nothing visible matches ' + {json.dumps(selector)});
            e.scrollIntoView({{block: 'center'}}); const b = e.getClientRects()[0];
            return [b.left + b.width / 2, b.top + b.height / 2]; }})()"""
        )
        self._mouse("mouseMoved", x, y, button="none")
        self._mouse("mousePressed", x, y)
        self._mouse("mouseReleased", x, y)

    def press(self, key: str, times: int = 1, shift: bool = False) -> None:
        """Press a key of the keyboard."""
        code, number, text = KEYS[key]
        about = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **about, **_text(text))
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, path: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        if whole:
            height = self.run("document.documentElement.scrollHeight")
            width = self.run("innerWidth")
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                      mobile=False)  # fmt: skip
            self.run("new Promise(done => setTimeout(done, 600))")
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _mouse(self, kind: str, x: float, y: float, button: str = "left") -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=int(button == "left"))

    def _keep(self, event: Mapping[str, Any]) -> None:
        about = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self.loaded += 1
            case "Runtime.exceptionThrown":
                details = about["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details.get("text", "")))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning", "assert"):
                self.complaints.append(str([item.get("value") for item in about["args"]]))
            case "Log.entryAdded" if about["entry"]["level"] in ("error", "warning"):
                self.complaints.append(about["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])


class WebSocket:
    """RFC 6455, the client's half, over a plain socket: text messages alone."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.left = b""
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.left:
            self.left += self.socket.recv(4096)
        answer, self.left = self.left.split(b"\r\n\r\n", 1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode())

    def send(self, text: str) -> None:
        """One masked text frame."""
        payload, mask = text.encode(), os.urandom(4)
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x81, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
        repeated = mask * (size // 4 + 1)
        self.socket.sendall(head + mask + bytes(a ^ b for a, b in zip(payload, repeated, strict=False)))

    def receive(self) -> str:
        """The next text message, put together from its frames."""
        parts = []
        while True:
            first, second = self._take(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack("!H", self._take(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._take(8))
            payload = self._take(size)
            if first & 15 in (0, 1):
                parts.append(payload)
                if first & 128:
                    return b"".join(parts).decode()
            elif first & 15 == 8:
                raise ConnectionError("the browser closed the connection")

    def _take(self, count: int) -> bytes:
        while len(self.left) < count:
            more = self.socket.recv(1 << 20)
            if not more:
                raise ConnectionError("the browser is gone")
            self.left += more
        taken, self.left = self.left[:count], self.left[count:]
        return taken


def _port_of(file: Path) -> tuple[int, str]:
    """The port and the path that the browser writes down when it listens."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            return int(lines[0]), lines[1]
        time.sleep(0.05)
    raise TimeoutError(f"the browser did not listen within {PATIENCE:.0f} s")


def _text(text: str) -> dict[str, str]:
    return {"text": text} if text else {}
