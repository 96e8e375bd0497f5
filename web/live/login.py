"""Where a phone in the same house says the password."""

from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from muster.web.live.guard import Doors
from muster.web.live.render import Nav

MOST = 4096  # bytes of what is sent


async def login(request: Request) -> Response:
    doors: Doors = request.app.state.doors
    if doors.password is None:
        return RedirectResponse("/", 303)
    if request.method != "POST":
        return _form(request, "")
    address = request.client.host if request.client else ""
    if wait := doors.password.wait(address):
        return _form(request, f"Too many wrong tries. Try again in {round(wait / 60 + 0.5)} minutes.", 429)
    given = parse_qs((await request.body())[:MOST].decode("utf-8", "replace")).get("password", [""])[0]
    if not await run_in_threadpool(doors.password.fits, given, address):
        return _form(request, "That is not the password.", 403)
    answer = RedirectResponse("/", 303)
    answer.headers["set-cookie"] = doors.set_cookie()
    return answer


def _form(request: Request, wrong: str, status: int = 200) -> Response:
    text = request.app.state.render.alone("login.html", wrong=wrong)
    return HTMLResponse(text, status, {"referrer-policy": "same-origin"})  # a form under no-referrer has no Origin


NAV: list[Nav] = []
ROUTES = [Route("/login", login, methods=["GET", "POST"])]
