"""Recipes of containers and examples of clusters: what can be checked without their engines."""

from __future__ import annotations

import os
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
    ("codes", "end", "runs"),
    [("0", 0, 1), ("11", 0, 1), ("12 12 0", 0, 3), ("12 11", 0, 2), ("12 9", 9, 2), ("12", 12, 5)],
)
def test_a_batch_of_slurm_runs_again_while_shards_are_missing(
    tmp_path: Path, codes: str, end: int, runs: int
) -> None:
    """With commands that only say what the cluster's would."""
    fakes = {
        "scontrol": "echo node1; echo node2",
        "srun": "exit 0",
        "sleep": "exit 0",
        "mixformerv2": 'echo "$@" >> calls; line=$(wc -l < calls); set -- $CODES\n'
        'shift $((line > $# ? $# - 1 : line - 1)); exit "$1"',
    }
    for name, text in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    names = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_CPUS_PER_TASK": "2", "CODES": codes}
    done = subprocess.run(
        ["bash", str(DEPLOY / "slurm/batch.sbatch"), "list.csv", "out"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **names},
        capture_output=True,
        text=True,
        check=False,
    )
    calls = (tmp_path / "calls").read_text().splitlines()
    assert (done.returncode, len(calls), len(set(calls))) == (end, runs, 1), done.stderr


def test_a_batch_of_kubernetes_runs_again_while_shards_are_missing() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes/batch.yaml").read_text("utf-8"))
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2, 11]
    assert job["spec"]["backoffLimit"] > 0


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
