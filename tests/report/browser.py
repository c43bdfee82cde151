"""A page in headless Chromium, driven over the DevTools protocol: what it fetched, what it complained about, how it looks."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-port=0",
)  # fmt: skip
SECONDS = 60.0


@dataclass
class Browser:
    """One page; what it asked for and said since it was opened."""

    socket: Any
    session: str = ""
    asked: int = 0
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    loaded: bool = False

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept."""
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": params}
        await self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while (answer := json.loads(await self.socket.recv())).get("id") != self.asked:
            self._keep(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _keep(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(json.dumps(event["params"]))
            case "Page.loadEventFired":
                self.loaded = True

    async def open(self, file: Path) -> None:
        """Load a file and wait for its load event."""
        target = await self.call("Target.createTarget", url="about:blank")
        self.session = (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        self.loaded = False
        await self.call("Page.navigate", url=file.as_uri())
        while not self.loaded:
            self._keep(json.loads(await self.socket.recv()))

    async def tell(self, expression: str) -> Any:
        """The value of a JavaScript expression; the page itself runs none."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"]["value"]

    async def look(self, width: int, height: int = 900, **media: str) -> None:
        """Change the size of the window, and what the reader prefers (media="print", scheme="dark")."""
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": media.get("scheme", "light")}]
        await self.call("Emulation.setEmulatedMedia", media=media.get("media", ""), features=features)

    async def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[key])


def browse(visit: Callable[[Browser], Awaitable[None]]) -> None:
    """Start Chromium with an empty profile, visit, and stop it."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="prefine-chromium-") as profile:
        command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            address = next(line.split(" on ")[1].strip() for line in process.stderr if "DevTools listening" in line)
            asyncio.run(asyncio.wait_for(_visited(address, visit), SECONDS))
        finally:
            process.terminate()
            process.communicate(timeout=30)


async def _visited(address: str, visit: Callable[[Browser], Awaitable[None]]) -> None:
    async with connect(address, max_size=None) as socket:
        await visit(Browser(socket))
