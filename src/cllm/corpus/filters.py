"""What is source text worth training on, and why the rest is not: by name first, then by content."""

from __future__ import annotations

import functools
import io
import re

import numpy as np
from identify import identify

EMPTY = "empty"
UNREADABLE = "unreadable"
NOT_A_FILE = "not a regular file"
SYMLINK = "symbolic link"
OUTSIDE = "outside the directory"
BINARY = "binary"
NOT_UTF8 = "not UTF-8"
TOO_LARGE = "too large"
LONG_LINES = "lines too long"
MINIFIED = "minified"
GENERATED = "generated"
VENDORED = "vendored"
CACHE = "cache"
LOCK_FILE = "lock file"
DATA = "data"
CREDENTIALS = "credentials"
LICENCE = "licence text"
UNKNOWN_TYPE = "unknown file type"
OWN_OUTPUT = "output of cllm"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near duplicate"
NOT_CHOSEN = "not chosen"
FORGOTTEN = "left out by --without"

CODE_LIMIT = 1 << 20
PROSE_LIMIT = 128 << 10
EXPLICIT_LIMIT = 256 << 20
"""Bytes at most: of a code file, of documentation or configuration, of a file that a person named."""

# tag of `identify` -> our name for the language; the first that a file has counts
_CODE = {
    "python": "python", "pyi": "python", "cython": "cython", "cuda": "cuda", "objective-c++": "objective-c++",
    "c": "c", "c++": "c++", "rust": "rust", "go": "go", "java": "java", "kotlin": "kotlin", "scala": "scala",
    "javascript": "javascript", "jsx": "javascript", "ts": "typescript", "tsx": "typescript", "c#": "c#", "f#": "f#",
    "vb": "vb", "ruby": "ruby", "perl": "perl", "php": "php", "swift": "swift", "objective-c": "objective-c",
    "dart": "dart", "lua": "lua", "luau": "lua", "r": "r", "julia": "julia", "haskell": "haskell",
    "literate-haskell": "haskell", "ocaml": "ocaml", "erlang": "erlang", "elixir": "elixir", "clojure": "clojure",
    "scheme": "scheme", "elm": "elm", "nim": "nim", "zig": "zig", "crystal": "crystal", "vala": "vala",
    "fortran": "fortran", "pascal": "pascal", "asm": "asm", "verilog": "verilog", "system-verilog": "verilog",
    "vhdl": "vhdl", "solidity": "solidity", "groovy": "groovy", "gdscript": "gdscript", "coffee": "coffee",
    "purescript": "purescript", "lean": "lean", "idris": "idris", "gleam": "gleam", "aspectj": "java", "hlsl": "hlsl",
    "metal": "metal", "sas": "sas", "qml": "qml", "shell": "shell", "fish": "shell", "nushell": "shell",
    "powershell": "powershell", "batch": "batch", "vim": "vim", "sql": "sql", "proto": "protobuf", "thrift": "thrift",
    "graphql": "graphql", "prisma": "prisma", "idl": "idl", "makefile": "make", "cmake": "cmake", "meson": "meson",
    "bazel": "bazel", "scons": "python", "gyp": "python", "dockerfile": "dockerfile", "nix": "nix",
    "terraform": "terraform", "hcl": "hcl", "jsonnet": "jsonnet", "cue": "cue", "m4": "m4", "gyb": "gyb",
    "bitbake": "bitbake", "puppet": "puppet", "tiltfile": "python", "c2hs": "haskell", "html": "html", "css": "css",
    "scss": "scss", "sass": "sass", "less": "less", "stylus": "stylus", "vue": "vue", "svelte": "svelte",
    "astro": "astro", "jinja": "jinja", "erb": "erb", "ejs": "ejs", "pug": "pug", "jade": "pug",
    "handlebars": "handlebars", "mustache": "mustache", "liquid": "liquid", "twig": "twig", "gotmpl": "gotmpl",
    "templ": "templ", "inc": "inc", "def": "def", "gherkin": "gherkin", "robot": "robot", "xquery": "xquery",
    "xsl": "xsl",
}  # fmt: skip
_PROSE = {
    "markdown": "markdown", "mdx": "markdown", "myst": "markdown", "rst": "rst", "asciidoc": "asciidoc", "tex": "tex",
    "plain-text": "plain-text", "yaml": "yaml", "toml": "toml", "ini": "ini", "go-mod": "go-mod",
    "java-properties": "properties", "editorconfig": "ini",
}  # fmt: skip
# what `identify` does not know
_EXTENSIONS = {
    "f": "fortran", "for": "fortran", "f77": "fortran", "el": "lisp", "lisp": "lisp", "lsp": "lisp", "rkt": "scheme",
    "tcl": "tcl", "awk": "awk", "ada": "ada", "adb": "ada", "ads": "ada", "d": "d", "dts": "devicetree",
    "dtsi": "devicetree", "y": "yacc", "yy": "yacc", "l": "lex", "ll": "lex", "g4": "antlr", "cl": "opencl",
    "glsl": "glsl", "vert": "glsl", "frag": "glsl", "comp": "glsl", "wgsl": "wgsl", "ld": "ld", "lds": "ld",
    "ac": "m4", "am": "make", "pro": "prolog", "cob": "cobol", "cbl": "cobol", "hx": "haxe", "mts": "typescript",
    "cts": "typescript", "rego": "rego", "td": "tablegen", "mlir": "mlir", "v3": "verilog", "odin": "odin",
    "hxx": "c++", "h++": "c++", "pyx": "cython", "ps": "postscript",
}  # fmt: skip
_FILE_NAMES = {"kconfig": "kconfig", "kbuild": "make", "justfile": "just", "configure.ac": "m4", "procfile": "yaml"}

_VENDORED_DIRECTORIES = frozenset({
    "node_modules", "bower_components", "jspm_packages", "vendor", "vendored", "_vendor", "third_party",
    "third-party", "thirdparty", "3rdparty", "3rd_party", "site-packages", "dist-packages", "godeps", "pods",
    "carthage", ".venv", ".eggs", ".bundle",
})  # fmt: skip
_CACHE_DIRECTORIES = frozenset({
    "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox", ".cache", ".gradle",
    ".ipynb_checkpoints", ".hypothesis", ".next", ".nuxt", ".terraform", ".idea", ".vs",
})  # fmt: skip
_LOCK_FILES = frozenset({
    "cargo.lock", "gemfile.lock", "pipfile.lock", "poetry.lock", "uv.lock", "pdm.lock", "composer.lock", "flake.lock",
    "mix.lock", "pubspec.lock", "podfile.lock", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock",
    "pnpm-lock.yaml", "bun.lock", "go.sum", "go.work.sum", "deno.lock", "conan.lock", ".terraform.lock.hcl",
    "packages.lock.json",
})  # fmt: skip
_CREDENTIAL_FILES = frozenset({
    ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd", ".git-credentials", "id_rsa", "id_dsa",
    "id_ecdsa", "id_ed25519", "credentials",
})  # fmt: skip
_LICENCE = re.compile(r"(?:licen[cs]e|copying|copyright|notice|patents|unlicense)s?(?:[-_.][\w.-]*)?", re.IGNORECASE)
_MINIFIED = re.compile(r"[.-]min\.(?:js|css|mjs|html)$|\.bundle\.js$|\.chunk\.js$", re.IGNORECASE)
_GENERATED_NAME = re.compile(
    r"(?:\.pb\.(?:go|cc|h)|_pb2(?:_grpc)?\.pyi?|\.g\.dart|\.designer\.cs|\.generated\.\w+|_generated\.\w+|\.snap)$|^(?:moc|ui|qrc)_.*\.(?:cpp|h|py)$|"
    r"^(?:aclocal\.m4|configure|ltmain\.sh|config\.guess|config\.sub|libtool\.m4|makefile\.in|parsetab\.py)$",
    re.IGNORECASE,
)
_GENERATED = re.compile(
    rb"@generated\b|\bcode generated by\b|\bdo not edit\b(?! (?:this|these|the) (?!file))"
    rb"|(?<!\bor )(?<!\bbe )(?<!\bno )(?<!\bfor )(?<!semi-)\b(?:auto(?:matically)?)[- ]?generated\b"
    rb"(?! (?:code|documentation|docs|ids?|names?)\b)"
    rb"|\bgenerated (?:automatically|from [\"'`(]|by (?:the protocol buffer|swig|cython|bison|flex|ply|antlr|thrift))",
    re.IGNORECASE,
)
_WHERE_MARKERS_ARE = 2048
_FIRST_LINES = 12
_MAX_LINE = 4000
_MAX_MEAN_LINE = 250


@functools.lru_cache(maxsize=1 << 14)
def _language_of_name(name: str) -> tuple[str | None, str | None, bool]:
    """Language, reason against it, and whether it is code (rather than prose) of a file called `name`."""
    lower = name.lower()
    extension = lower.rpartition(".")[2] if "." in lower else ""
    if lower in _LOCK_FILES:
        return None, LOCK_FILE, False
    if lower in _CREDENTIAL_FILES or (lower.startswith(".env") and not lower.endswith(".py")):
        return None, CREDENTIALS, False
    if lower.endswith(".cllm") or lower in ("my_training_results.md", "my_training_results.html"):
        return None, OWN_OUTPUT, False
    if _MINIFIED.search(name):
        return None, MINIFIED, False
    if _GENERATED_NAME.search(name):
        return None, GENERATED, False
    tags = identify.tags_from_filename(name)
    if not tags and extension == "in":  # a template of autoconf or cmake
        tags = identify.tags_from_filename(name.removesuffix(".in"))
    language, is_code = _from_tags(tags)
    if language is None and (known := _FILE_NAMES.get(lower) or _EXTENSIONS.get(extension)):
        language, is_code = known, True
    if not is_code and _LICENCE.fullmatch(name):
        return None, LICENCE, False
    if language is not None:
        return language, None, is_code
    if tags & {"pem", "dotenv", "pypirc"}:
        return None, CREDENTIALS, False
    if "binary" in tags:
        return None, BINARY, False
    return None, DATA if tags else UNKNOWN_TYPE, False


def _from_tags(tags: set[str] | frozenset[str]) -> tuple[str | None, bool]:
    if tags & {"json", "svg", "binary"}:
        return None, False
    for names, is_code in ((_CODE, True), (_PROSE, False)):
        for tag, language in names.items():
            if tag in tags:
                return language, is_code
    return None, False


def judge_name(path: str) -> tuple[str | None, str | None]:
    """Language and reason to leave out, by the posix `path` relative to its root.

    `(None, None)` means that only the first line can tell (a script without an extension).
    """
    *directories, name = path.split("/")
    for directory in directories:
        lower = directory.lower()
        if lower in _VENDORED_DIRECTORIES:
            return None, VENDORED
        if lower in _CACHE_DIRECTORIES:
            return None, CACHE
    language, reason, _ = _language_of_name(name)
    if reason == UNKNOWN_TYPE and "." not in name:
        return None, None
    return language, reason


def limit_of(path: str) -> int:
    """Bytes that a file found in a scan may have."""
    language, _, is_code = _language_of_name(path.rpartition("/")[2])
    return PROSE_LIMIT if language is not None and not is_code else CODE_LIMIT


def language_of_named_file(path: str) -> str | None:
    """Language of a file that a person named: any text type will do. None: only the first line can tell."""
    name = path.rpartition("/")[2]
    language, _, _ = _language_of_name(name)
    if language is None and (tags := identify.tags_from_filename(name)) and "binary" not in tags:
        language = next(iter(sorted(tags - {"text"})), "plain-text")
    return language


def language_of_shebang(data: bytes) -> str | None:
    """Language of a script by its `#!` line."""
    command = identify.parse_shebang(io.BytesIO(data[:512]))
    return _from_tags(identify.tags_from_interpreter(command[0]))[0] if command else None


def not_text(data: bytes) -> str | None:
    """Why `data` is not UTF-8 text, or None."""
    if not data or data.isspace():
        return EMPTY
    if b"\0" in data:
        return BINARY
    try:
        data.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return None


def judge_text(data: bytes) -> str | None:
    """Why UTF-8 text is not worth training on, or None: written by a machine, or a table of numbers."""
    head = b"\n".join(data[:_WHERE_MARKERS_ARE].split(b"\n", _FIRST_LINES)[:_FIRST_LINES])
    lower = head.lower()  # the pattern is slow, and few files have any of its words
    if (b"generated" in lower or b"do not edit" in lower) and _GENERATED.search(head):
        return GENERATED
    values = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(values == ord("\n"))
    if len(data) / (len(ends) + 1) > _MAX_MEAN_LINE and len(data) > _MAX_LINE:
        return LONG_LINES
    if len(ends) == 0 or int(np.diff(ends, prepend=-1, append=len(data)).max()) > _MAX_LINE:
        return LONG_LINES if len(data) > _MAX_LINE else None
    if len(data) > _MAX_LINE:
        counts = np.bincount(values, minlength=256)
        visible = len(data) - int(counts[[9, 10, 13, 32]].sum())
        if int(counts[ord("0") : ord("9") + 1].sum() + counts[ord(",")]) > visible // 2:
            return DATA
    return None
