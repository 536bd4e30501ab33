"""A certificate of this machine's own, which nobody trusts yet."""

import ssl
import subprocess
from pathlib import Path

import pytest


def a_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1; return its file and the context of a server that has it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=house", "-days", "1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]  # RSA's takes 0.2 s
    command = ["openssl", "req", "-x509", *kind, "-nodes", *subject, *files]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no openssl to make a certificate with")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return certificate, tls
