"""What a build needs to know of this machine's way to packages: pip's settings and certificates.

Handed to single build steps as secrets, so that nothing of it is kept in an image.
"""

import configparser
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_KEPT = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
_CA = "/run/secrets/ca"
_BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


def write_secrets(folder: Path, environment: Mapping[str, str]) -> dict[str, Path]:
    """Write pip.conf and the certificates into `folder` and return them by secret id."""
    config = _pip_settings(environment)
    bundle = certificates(config, environment)
    settings = {name: value for name, value in config.items() if name in _KEPT}
    secrets = {"pip": folder / "pip.conf", "ca": folder / "ca.pem"}
    if bundle is not None:
        settings["cert"] = _CA
        secrets["ca"].write_bytes(bundle.read_bytes())
    else:
        del secrets["ca"]
    parser = configparser.RawConfigParser()
    parser["global"] = settings
    with secrets["pip"].open("w") as file:
        parser.write(file)
    return secrets


def certificates(config: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    """Return the bundle of certificates that this machine trusts beyond pip's own, if it names one."""
    named = [config.get("cert"), *(environment.get(name) for name in _BUNDLES)]
    return next((Path(name) for name in named if name and Path(name).is_file()), None)


def _pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's global settings: of its files, overridden by PIP_ variables."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(environment))
    out: dict[str, str] = {}
    for prefix in ("global.", "install.", ":env:."):
        for line in listed.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(prefix):
                out[name.removeprefix(prefix)] = value.strip("'\"")
    return out


def build_environment() -> dict[str, str]:
    """Return this process's environment, for the tools that build."""
    return dict(os.environ)
