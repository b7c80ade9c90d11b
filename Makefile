# Two commands do everything on a machine that has Python, make and a package index:
#   make demo    eight questions to a small library of real documents and photographs (DOCS=folder: your own; OPEN=1: in
#                the browser)
#   make test    lint, types, tests
#   make test-fast   the tests of the inner loop: under a minute
#   make messages   the catalogues of other languages, renewed from the sources
#   make docs    the documentation as a site, in .site/
#   make test-avx2   the tests with the instructions of a processor without AVX-512
#   make kills   a longer check of the store: kills and damage, with a table
#   make soak    a store in use for a long time: memory, index and disk, with a table
#   make test-models   conversion and export against PyTorch and transformers, in an environment of their own
#   make calibrate   what the scores of the shipped models are worth, learned anew (COMMONPLACE_DATA; minutes)
#   make test-train    training, with PyTorch, in the same environment
#   make fuzz    10,000 broken files
#   make test-ray   reading and embedding on a Ray cluster of two nodes (installs Ray; minutes)
#   make test-llm  answers by a real vision-language model behind a real server (installs torch; minutes)
#   make test-milvus  a real Milvus server, in a network namespace of its own, and Milvus Lite (Linux; minutes)
#   make dist    the packages, built twice, checked and tried; then before a release also:
#   make test-extras  each extra in an environment of its own, with a table of sizes (minutes)
#   make test-fresh   the wheel on Python 3.10 to 3.13, with the lowest and the highest dependencies (minutes)
#   make api     what changed of the public Python API since the last release
#   make sbom    dist/sbom.json: what an installation consists of
#   make licences   docs/reference/licences.md, renewed
#   make lock    requirements-dev.txt, renewed: the versions of the development environment
#   make lint-deploy  workflows, Dockerfiles and shell scripts
#   make test-frameworks  LangChain, LlamaIndex and Haystack: their standard tests, in an environment of their own (minutes)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

DOCS_VENV := .venv-docs

# Much of the tests' time is spent waiting for other processes and for disks, so three at a time suit two cores. The tests
# of a file stay together: they share fixtures.
JOBS ?= 3
PARALLEL = -n $(JOBS) --dist loadfile

.PHONY: api dist licences lock lint-deploy sbom test-extras test-fresh calibrate demo docs reference messages test test-fast test-avx2 test-frameworks test-llm test-models test-train test-milvus test-ray kills soak fuzz clean

demo: $(VENV)/.base $(if $(OPEN),$(VENV)/.serve)
	@$(BIN)/python examples/demo.py $(if $(OPEN),--open) $(if $(DOCS),"$(DOCS)")

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# The site; strict, so a broken link or a name without documentation is an error.
docs: $(DOCS_VENV)/.done
	$(DOCS_VENV)/bin/python scripts/reference.py --check
	$(DOCS_VENV)/bin/mkdocs build

# Writes the generated pages of the reference.
reference: $(VENV)/.dev
	$(BIN)/python scripts/reference.py

# Adds new messages to the catalogues, removes those that are gone, and compiles. Then translate what is empty, and again.
messages: $(VENV)/.dev
	$(BIN)/python scripts/messages.py

$(DOCS_VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@

# Sums in another order are rounded otherwise, so a test that holds here may fail on a processor without AVX-512. NumPy's
# products (OpenBLAS; CORE=Zen is the other kernel without AVX-512), NumPy's own loops, OpenVINO and FAISS take their
# instructions from these (NumPy's names of before and after 2.4). Compiled models are kept apart: they were made for
# other instructions.
CORE ?= Haswell
test-avx2: export OPENBLAS_CORETYPE = $(CORE)
test-avx2: export NPY_DISABLE_CPU_FEATURES = X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR
test-avx2: export OV_CPU_MAX_ISA = AVX2
test-avx2: export FAISS_OPT_LEVEL = avx2
test-avx2: export FAISS_SIMD_LEVEL = AVX2
test-avx2: export COMMONPLACE_CACHE = $(CURDIR)/.cache-avx2
test-avx2: $(VENV)/.dev
	mkdir -p $(COMMONPLACE_CACHE)
	$(BIN)/python -m pytest $(PARALLEL)

# Kills a process at 200 of its writes and damages every file, looks for what was lost or is wrong; an hour.
kills: $(VENV)/.dev
	$(BIN)/python benchmarks/kills.py

# A million adds, updates, deletes and searches; an hour.
soak: $(VENV)/.dev
	$(BIN)/python benchmarks/soak.py

# Writes the calibration into both bundles, with the precision in which every processor computes alike; then run the
# benchmarks mixing, trust, short and folder.
calibrate: export COMMONPLACE_PRECISION = f32
calibrate: $(VENV)/.dev
	$(BIN)/python models/calibration.py --bundle src/commonplace/bundles/minilm-lite0
	$(BIN)/python models/calibration.py --bundle packages/multilingual/commonplace_multilingual

# The tiny models are made anew by the library itself, then converted, exported and compared live; a few minutes.
MODELS := .venv-models
test-models: $(MODELS)/.done
	$(MODELS)/bin/python -m tests.encoders.tiny.make --weights .tiny-models
	COMMONPLACE_TINY=.tiny-models $(MODELS)/bin/python -m pytest tests/encoders/test_convert.py tests/encoders/live_export.py

# Heads are trained on small pictures, and searched with; a few minutes.
test-train: $(MODELS)/.done
	$(MODELS)/bin/python -m pytest --timeout 900 tests/training

$(MODELS)/.done: pyproject.toml
	$(PYTHON) -m venv $(MODELS)
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0" --editable ".[dev,export,train]"
	@touch $@

# Two nodes on this machine, one of them killed; on 127.0.0.1. Without Ray, `make test` leaves these tests out.
RAY := .venv-ray
test-ray: $(RAY)/.done
	COMMONPLACE_LONG=1 $(RAY)/bin/python -m pytest --timeout 900 tests/ingest/test_ray.py

$(RAY)/.done: pyproject.toml
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,ray]"
	@touch $@

# The frameworks' standard tests, and ours. Their packages pin others, and `make test` leaves these tests out.
FRAMEWORKS := .venv-frameworks
test-frameworks: $(FRAMEWORKS)/.done
	$(FRAMEWORKS)/bin/python -m pytest -rs -o asyncio_default_fixture_loop_scope=function tests/integrations

$(FRAMEWORKS)/.done: pyproject.toml
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable ".[langchain,llama-index,haystack]" "langchain-tests>=1.1,<2" \
		"pytest>=8.3,<10" "pytest-timeout>=2.3,<3" "pytest-asyncio>=1,<2" "hypothesis>=6.120,<7"
	@touch $@

# Reads 10,000 broken files of every format, the same ones each time; ten minutes.
fuzz: $(VENV)/.dev
	COMMONPLACE_FUZZ=10000 $(BIN)/python -m pytest --timeout 7200 tests/readers/test_fuzz.py

# The model is tiny and made on the spot; transformers serves it. In an environment of its own.
test-llm: .venv-llm/.ready
	.venv-llm/bin/python -m pytest --timeout 900 tests/llm

.venv-llm/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-llm
	.venv-llm/bin/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0" \
		--editable ".[chat,transformers]" "accelerate>=1,<2" "fastapi>=0.115,<1" "uvicorn>=0.30,<1" "rich>=13" \
		"pytest>=8.3,<10" "pytest-timeout>=2.3,<3" "hypothesis>=6.120,<7" "onnx>=1.17,<2"
	@touch $@

# The server is the newest that a package index has. Its package pins others, so it has an environment of its own. It
# listens on all interfaces: tests/milvus_server.py starts it where only the tests reach it. That needs root or user
# namespaces; without them these tests are skipped, with the reason. COMMONPLACE_MILVUS=URI uses another server.
MILVUS := .venv-milvus
MILVUS_SERVER := .venv-milvus-server
MILVUS_TESTS ?= tests/store/milvus tests/milvus
test-milvus: export COMMONPLACE_MILVUS_SERVER = $(CURDIR)/$(MILVUS_SERVER)/bin/milvus-server
test-milvus: $(MILVUS)/.done $(MILVUS_SERVER)/.done
	$(MILVUS)/bin/python -m tests.milvus_server $(MILVUS)/bin/python -m pytest --timeout 900 -rs $(MILVUS_TESTS)

$(MILVUS)/.done: pyproject.toml
	$(PYTHON) -m venv $(MILVUS)
	$(MILVUS)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,milvus]"
	@touch $@

$(MILVUS_SERVER)/.done:
	$(PYTHON) -m venv $(MILVUS_SERVER)
	$(MILVUS_SERVER)/bin/python -m pip install --quiet --disable-pip-version-check "milvus==2.3.5"
	@touch $@

# Before a release. The tools have an environment of their own; uv makes the environments in which packages are tried.
RELEASE := .venv-release
dist: $(RELEASE)/.done
	$(RELEASE)/bin/python scripts/dist.py

test-extras: dist
	$(RELEASE)/bin/python scripts/extras.py

test-fresh: dist
	$(RELEASE)/bin/python scripts/fresh.py --tests

api: $(RELEASE)/.done
	$(RELEASE)/bin/python scripts/api.py

sbom: dist
	$(RELEASE)/bin/python scripts/bill.py sbom

licences: dist
	$(RELEASE)/bin/python scripts/bill.py licences

lock: $(RELEASE)/.done
	$(RELEASE)/bin/uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --extra dev pyproject.toml \
		--upgrade --output-file requirements-dev.txt

lint-deploy: $(RELEASE)/.done
	$(RELEASE)/bin/zizmor --offline --quiet .github/workflows
	$(RELEASE)/bin/hadolint deploy/Dockerfile deploy/Dockerfile.serve
	$(RELEASE)/bin/shellcheck .ci/run scripts/*.sh

$(RELEASE)/.done: pyproject.toml
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[release]"
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.serve: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[serve]"
	@touch $@ $(VENV)/.base

$(VENV)/.dev: pyproject.toml packages/multilingual/pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]" --editable packages/multilingual
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) $(DOCS_VENV) .venv-ray $(MILVUS) $(MILVUS_SERVER) .venv-llm .venv-models $(FRAMEWORKS) $(RELEASE) .tiny-models .demo .site .cache-avx2
