"""The HTTP and websocket routes, one module a subject; docs/studio.md lists them."""
