"""The service of a gallery, asked in this process."""

from typing import Any

import httpx
from starlette.applications import Starlette


class Asking:
    """`keys`: texts by name."""

    def __init__(self, app: Starlette, keys: dict[str, str]) -> None:
        self.app, self.keys = app, keys

    async def ask(
        self, method: str, path: str, key: str = "administers", body: bytes | dict[str, Any] = b"", kind: str = ""
    ) -> httpx.Response:
        """`body`: an image, or JSON."""
        headers = {"content-type": kind or ("application/json" if isinstance(body, dict) else "image/jpeg")}
        if key:
            headers["authorization"] = f"Bearer {self.keys.get(key, 'muster_x')}"
        given: dict[str, Any] = {"json": body} if isinstance(body, dict) else {"content": body}
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://door", timeout=None) as client:
            return await client.request(method, path, headers=headers, **given)
