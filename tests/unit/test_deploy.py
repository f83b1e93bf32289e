"""Recipes of containers and examples of clusters: what can be checked without their engines."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.cuda"])
def test_what_runs_has_no_compiler_and_is_an_ordinary_user(name: str) -> None:
    *_, last = (DEPLOY / name).read_text("utf-8").split("\nFROM ")
    assert "\nUSER 10001\n" in last
    assert last.index("useradd") < last.index("USER 10001") < last.index("ENTRYPOINT")
    for word in ("gcc", "build-essential", "apt-get", "pip install", "-devel"):
        assert word not in last


def test_who_runs_a_container_owns_what_it_writes() -> None:
    """The image's own user may write into no folder of theirs."""
    pages = (DEPLOY / "Containerfile", DEPLOY / "Containerfile.cuda", DEPLOY / "../docs/deploy.md")
    for page in pages:
        (line,) = (one for one in page.read_text("utf-8").splitlines() if "docker run" in one)
        assert '--user "$(id -u):$(id -g)" -v "$PWD:/work"' in line


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("slurm/*.sbatch")), ids=lambda path: path.name)
def test_slurm_scripts_are_bash(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "set -euo pipefail" in path.read_text("utf-8")


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.glob("kubernetes/*.yaml")), ids=lambda path: path.name
)
def test_pods_run_as_ordinary_users_with_limits(path: Path) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text("utf-8")))
    jobs = [one for one in documents if one["kind"] == "Job"]
    assert jobs
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["resources"]["limits"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_function_of_cvat_names_what_is_there() -> None:
    document = yaml.safe_load((DEPLOY / "cvat" / "function.yaml").read_text("utf-8"))
    assert document["metadata"]["annotations"]["type"] == "tracker"
    module, _, name = document["spec"]["handler"].partition(":")
    text = (DEPLOY / "cvat" / f"{module}.py").read_text("utf-8")
    assert f"from mixformerv2.integrations.cvat import {name}, init_context\n" in text
