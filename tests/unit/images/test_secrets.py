"""What a build is told of this machine's way to packages."""

import configparser
from pathlib import Path

from images.secrets import certificates, write_secrets


def test_pips_variables_and_certificates_are_handed_on(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates")
    environment = {
        "PIP_INDEX_URL": "https://packages.example.com/simple",
        "PIP_CERT": str(bundle),
        "PIP_TARGET": "/somewhere",
        "PIP_CONFIG_FILE": "/dev/null",
        "PATH": "/usr/bin",
    }
    secrets = write_secrets(tmp_path, environment)
    parser = configparser.RawConfigParser()
    parser.read(secrets["pip"])
    assert dict(parser["global"]) == {"index-url": "https://packages.example.com/simple", "cert": "/run/secrets/ca"}
    assert secrets["ca"].read_text() == "certificates"


def test_without_certificates_none_are_handed_on(tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path, {"PIP_CONFIG_FILE": "/dev/null", "PATH": "/usr/bin"})
    assert list(secrets) == ["pip"]


def test_a_bundle_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    real = tmp_path / "real.pem"
    real.touch()
    assert certificates({"cert": "/no/such/file"}, {"SSL_CERT_FILE": str(real)}) == real
