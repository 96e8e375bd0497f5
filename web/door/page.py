"""The page of the service: one file, its scripts and styles, which ask the service itself by the key they are given."""

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

WEB = Path(__file__).parent.parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
}
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SHARED = ("people.css", "live/live.css", "icon.svg")  # what it has in common with the pages of a library


def routes(headers: Mapping[str, str]) -> list[Route]:
    """`headers`: those of every answer of the service."""
    static = WEB / "static"
    paths = {str(path.relative_to(static)): path for path in (static / "door").iterdir() if path.suffix in KINDS}
    paths |= {name: static / name for name in SHARED}
    files = {name: path.read_bytes() for name, path in paths.items()}
    page = (WEB / "templates/door.html").read_bytes()

    async def shown(request: Request) -> Response:
        return Response(page, media_type="text/html", headers={**headers, **HEADERS})

    async def file(request: Request) -> Response:
        """By a name that is looked up, and never opened as it is."""
        name = request.path_params["path"]
        if name not in files:
            return Response(b"", 404, media_type="text/plain", headers=dict(headers))
        return Response(files[name], media_type=KINDS[paths[name].suffix], headers=dict(headers))

    return [Route("/", shown), Route("/static/{path:path}", file)]
