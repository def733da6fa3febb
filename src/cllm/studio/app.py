"""The studio as an ASGI application: routes, errors as JSON, static files, and the guard round all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cllm import __version__
from cllm.errors import CllmError, InvalidInput, RunNotFound, StorageFull
from cllm.studio.access import Guard
from cllm.studio.roots import Roots
from cllm.studio.routes import completing, live, reports, runs, setup, training
from cllm.studio.state import Studio
from cllm.workspace import Workspace

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/training", "/llm", "/runs", "/runs/{id}", "/compare", "/benchmarks", "/benchmarks/{id}")
_STATUS: tuple[tuple[type[CllmError], int], ...] = ((RunNotFound, 404), (InvalidInput, 422), (StorageFull, 507))


def create_app(workspace: Workspace, roots: Roots, token: str, hosts: frozenset[str] = frozenset()) -> ASGIApp:
    """The application. `hosts` are hostnames, beside those of loopback, by which it may be reached."""
    studio = Studio(workspace, roots)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with studio.running():
            yield

    app = FastAPI(title="CLLM", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.studio = studio
    for module in (setup, training, runs, reports, completing, live):
        app.include_router(module.router)
    for path in PAGES:
        app.add_api_route(path, _page, methods=["GET"])
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(CllmError, _our_error)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    app.add_exception_handler(HTTPException, _http_error)
    return Guard(_Fresh(app), token, hosts)


class _Fresh:
    """Tells browsers to ask each time: an updated CLLM must not meet an old page. Unchanged files answer 304."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        async def sending(message) -> None:  # type: ignore[no-untyped-def]
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"cache-control", b"no-cache")]
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)


async def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html", media_type="text/html")


async def _our_error(_: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status)


async def _wrong_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = [f"{'.'.join(str(p) for p in e['loc'][1:]) or 'body'}: {e['msg'].lower()}" for e in error.errors()]
    return JSONResponse({"error": "; ".join(parts)}, 422)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = error.detail if error.detail != HTTPStatus(error.status_code).phrase else "there is no such page"
    return JSONResponse({"error": text}, error.status_code, dict(error.headers or {}))
