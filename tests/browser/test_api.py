"""The API against its own description: schemathesis makes up requests, right and wrong ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.browser.conftest import DEMO, Server
from tests.browser.test_client import BOX, client

SECONDS = os.environ.get("MIXFORMERV2_SCHEMA_SECONDS", "60")

# Random bytes are no video, and the job must outlive the tests of all the others.
CONFIG = """
request-timeout = 60.0

[checks]
ignored_auth.enabled = false  # a server on loopback asks for no credentials
object_level_authorization.enabled = false
{more}

[[operations]]
include-name = "DELETE /api/jobs/{{id}}"
enabled = false

[[operations]]
include-name = "POST /api/jobs"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "PUT /api/jobs/{{id}}/objects/{{number}}/prompts/{{frame}}"
checks.positive_data_acceptance.enabled = false  # a box may lie outside of this very video
"""

# Only there, so that requests reach what they are about. What is wrong in a path is then out of
# sight, and gets a run of its own.
KNOWN = """negative_data_rejection.enabled = false

[parameters]
"path.id" = "{job}"

[[operations]]
include-name = "POST /api/library/{{number}}"
parameters = {{ "path.number" = 0 }}
"""


def test_the_api_does_what_its_description_says(server: Server, tmp_path: Path) -> None:
    job = client.Server(server.address).upload(DEMO)
    job.box(BOX)
    job.track()
    for more in (KNOWN.format(job=job.path.rpartition("/")[2]), ""):
        schemathesis(server, tmp_path, CONFIG.format(more=more))


def schemathesis(server: Server, tmp_path: Path, content: str) -> None:
    """Run it, and show what it has found."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(content)
    program = Path(sys.executable).with_name("schemathesis")
    assert program.is_file(), "schemathesis is missing: `make test-api` installs it"
    command = [str(program), "--config-file", str(config), "run"]
    command += [f"{server.address}api/openapi.json", "--max-time", SECONDS]
    command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:]
    info = json.loads(client.Server(server.address).call("GET", "/info"))
    assert info["model"] == "t"
