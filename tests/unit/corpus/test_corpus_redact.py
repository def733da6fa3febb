"""Secrets are found and replaced; code that only speaks of them is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cllm.corpus.redact import PLACEHOLDER, redact

# put together here, so that no scanner takes this file for a leak
KEY_BODY = "\n".join(["MIIEpAIBAAKCAQEA1c7+9z5Pad7OejecsQ0bu3aozN3tihPmUdnnudRMMUJRQ21B"] * 3)
SECRETS = {
    "AWS Access Key": "AKIA" + "2E0A8F3B244C9986",
    "GitHub Token": "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dE3fG6",
    "Stripe Access Key": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "Slack Token": "xoxb-" + "1234567890-0987654321-abcdefghij1234",
    "SendGrid API Key": "SG." + "ngeVfQFYQlKU0ufo8x5d1A" + "." + "TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr",
    "Google API Key": "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "GitLab Token": "glpat-" + "Zx9_aQ2bRt5yUw8oPm3k",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_tokens_with_a_known_form(kind: str) -> None:
    text, secrets = redact(f'first = 1\nkey = "{SECRETS[kind]}"  # ours\nlast = 2\n')
    assert text == f'first = 1\nkey = "{PLACEHOLDER}"  # ours\nlast = 2\n'
    assert [(s.line, s.type) for s in secrets] == [(2, kind)]


def test_a_private_key_goes_as_a_whole() -> None:
    begin, end = "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE " + "KEY-----"
    text, secrets = redact(f"a\n{begin}\n{KEY_BODY}\n{end}\nb\n")
    assert "MIIE" not in text
    assert text.startswith("a\n" + begin) and text.endswith(end + "\nb\n")
    assert [s.type for s in secrets] == ["Private Key"]
    harmless = f'if "{begin}" in text and "{end}" in text:\n    pass\n'
    assert redact(harmless) == (harmless, [])


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ('password = "', "hT5$kq92Lm!x", '"\n'),
        ("  'api_key': '", "9f8a7b6c5d4e3f2a1b0c9d8e", "',\n"),
        ('char *token = "', "a8Kd92mLq0Zx7Yt", '";\n'),
        ('url = "postgres://bob:', "s3cretPw9", '@db/x"\n'),
        ("İ" * 900 + '\nsecret = "', "Zk3nW8qLr5T", '"\n'),
    ],
)
def test_values_beside_a_telling_name(before: str, secret: str, after: str) -> None:
    text, secrets = redact(before + secret + after)
    assert text == before + PLACEHOLDER + after
    assert len(secrets) == 1


@pytest.mark.parametrize(
    "line",
    [
        'token = "NUMBER"',
        'password = "password"',
        "password = getpass.getpass()",
        'secret = os.environ["SECRET_KEY_2"]',
        'token = "tokenize_the_lines"',
        'TOKEN_TYPE = "access-token"',
        'password = "{user}:{key1}"',
        'pwd = "/home/user1/x2"',
        "http://user:password@example.com",
        "if token == '<|endoftext|>':",
        'raise ValueError("bad token in line 12")',
        'sha = "da39a3ee5e6b4b0d3255bfef95601890afd80709"',
        "scheme://org:repo@sha/path",
        'password = "changeme"',
    ],
)
def test_code_that_only_speaks_of_secrets(line: str) -> None:
    assert redact(line + "\n") == (line + "\n", [])


def test_again_changes_nothing() -> None:
    text, secrets = redact("\n".join(f'password = "{s}"' for s in SECRETS.values()))
    assert len(secrets) == len(SECRETS)
    assert redact(text) == (text, [])


def test_the_middle_of_a_long_line() -> None:
    secret = SECRETS["GitHub Token"]
    text, secrets = redact("x" * 5000 + f" {secret} " + "y" * 5000)
    assert secret not in text
    assert len(secrets) == 1


def test_no_network() -> None:
    """The library can ask services whether a secret is alive; loading and running our rules opens no socket."""
    code = (
        "import socket\ndef forbidden(*a, **k): raise SystemExit('network')\nsocket.socket.connect = forbidden\n"
        "socket.getaddrinfo = forbidden\nfrom cllm.corpus.redact import redact\n"
        f"assert redact({SECRETS['Slack Token']!r})[1] and redact({SECRETS['GitHub Token']!r})[1]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
