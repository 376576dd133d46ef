# The front door. `make pipeline` and `make test` work in a fresh clone: they set up what they need themselves.
# Needs GNU make and Python 3.11 or newer with venv; everything else goes into .venv.

TARGET = pixel
PRESET = quickstart
DATA =
RUN =
SET =
SERIAL =
HOST =
ARGS =

# `make help` prints these lines.
#: Everyday
#:   pipeline      images to checked, deployable networks: TARGET=pixel PRESET=quickstart DATA=folder RUN=folder SET="key=value ..."
#:   report        write the report of RUN again (default: runs/TARGET-PRESET)
#:   setup         create .venv and install fairnas at the pinned versions
#:   setup-deploy  the same, with LiteRT and TensorRT-RTX
#: Devices
#:   profile  measure what every block costs on TARGET: cpu, pixel (SERIAL=), board (HOST=), web, gpu; ARGS="--validate"
#: Checks
#:   test               run the tests, a process for each core: ARGS="-k latency" goes to pytest, WORKERS= runs them one by one
#:   test-resume        kill the pipeline at 40 moments and damage what unfinished work keeps, and compare what it makes then
#:   test-devices       a look-alike phone and board, and a browser, driven by the real adb, ssh and Chromium (root, Debian)
#:   test-detection     MMDetection with our backbones, the real one, in an environment of its own: WHEELS=folder of a built onedl-mmcv
#:   test-segmentation  MMSegmentation and segmentation_models_pytorch with our backbones, likewise
#:   lint               ruff, pyright and hadolint
#:   bench              measure how fast the stages run on this machine
#:   bench-startup      CPU seconds until `fairnas` answers what needs no training
#:   docs               the documentation as a site in build/site; a broken link or anchor is an error
#:   check-dist         build wheel and sdist, and try both in environments of their own, outside of the repository
#:   audit              look up known weaknesses of the pinned packages (needs the network)
#: Experiments, which write results/ and the tables of the documentation
#:   experiment-cifar10       search, retrain and export on CIFAR-10 class folders (DATA=folder): results/ and its table
#:   experiment-latency       profile this machine three times and check it on 60 networks: results/ and its table
#:   experiment-latency-load  profile this machine quiet and under bursts of other work: results/ and its table
#:   experiment-search        compare the search algorithms on NAS-Bench-201 (TABLES=folder with its tables): results/ and its tables
#:   experiment-ranking       train supernets under every sampling and rank them: SPACE=macro PROTOCOL=cpu DATA=cifar10 TRUTH=csv
#:   experiment-scoring       score NAS-Bench-Macro's networks (TRUTH=csv) with shared beginnings and one by one: results/
#:   experiment-overhead      what a search costs besides scoring: results/
#:   experiment-deploy        retrain networks at 96 px and export each in every format (DATA=class folders): results/ and its tables
#:   experiment-export-sweep  export 60 of timm's networks to ONNX, in float32 and in 8 bits: results/
#:   experiment-detection     RetinaNet with each backbone on Penn-Fudan (DATA=folder with annotations.json): results/ and its tables
#:   experiment-segmentation  DeepLabv3+ with each backbone on CamVid (DATA=folder): results/ and its tables
#: Housekeeping
#:   stage-versions  record the stages' sources and versions: after a change that a test asks it for
#:   constraints     fill in constraints.txt: what it has no line for gets its newest version
#:   clean           remove what was built; never touches runs/ or .venv/
#:   clean-runs      remove runs/: every trained weight and exported network in it
#:   help            print this list

# What may be set on the command line. Anything else is a slip, such as `make pipeline target=cpu`, and would be ignored.
SETTABLE := TARGET PRESET DATA RUN SET SERIAL HOST ARGS PYTHON INSTALLER SPACE PROTOCOL TRUTH COLUMN ARCHITECTURES STOP_AFTER \
  SAMPLINGS TABLES WORKERS DEPLOYED FORMATS WHEELS LONGER CLIPPED TENSORRT TRAINED VENV OPENMMLAB SHELL
UNKNOWN := $(filter-out $(SETTABLE),$(foreach each,$(.VARIABLES),$(if $(findstring command line,$(origin $(each))),$(each))))
ifneq ($(UNKNOWN),)
NEAREST := $(shell for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python); do \
  $$python -c 'import difflib, sys; name, *known = sys.argv[1:]; print(*difflib.get_close_matches(name.upper(), known, 1))' \
    '$(firstword $(UNKNOWN))' $(SETTABLE) 2>/dev/null && break; done)
$(error there is no variable $(firstword $(UNKNOWN)): $(if $(NEAREST),did you mean $(NEAREST)=?,choose from $(SETTABLE)))
endif

.DEFAULT_GOAL := help
.PHONY: pipeline experiment-deploy experiment-export-sweep openmmlab experiment-detection experiment-segmentation setup-deploy experiment-cifar10 experiment-latency experiment-latency-load experiment-search experiment-ranking experiment-scoring experiment-overhead setup setup-dev test test-devices test-detection test-segmentation test-resume stage-versions profile lint audit check-dist docs bench bench-startup report constraints clean clean-runs help moved
# Two installations into one environment at once would break it.
.NOTPARALLEL:

VENV := .venv
# Exists while an installation is under way: one that was killed leaves packages that look installed and are not.
UNFINISHED := .venv.unfinished
# Environments hold absolute paths: in a folder that was copied or renamed, this one would run the code of the old place.
MOVED := $(shell [ -f $(VENV)/.place ] && [ "$$(cat $(VENV)/.place)" != "$$(pwd -P)" ] && echo moved)
PYTHONS := python3.11 python3.12 python3.13 python3 python
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# Set PYTHON=/path/to/python to choose the interpreter, INSTALLER=pip to do without uv.
PYTHON =
INSTALLER = uv

# $(call install,REQUIREMENT,OF_UV): what uv installs instead; it can be told to overlook packages' needless pins.
# Compiled while installing: where Python may write no bytecode, every start would compile torch and timm for 10 seconds.
define install
	@if [ -e $(UNFINISHED) ] || [ -n "$(MOVED)" ] || ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	  found=; for python in $(or $(PYTHON),$(PYTHONS)); do \
	    if "$$python" -c "$(SUITABLE)" 2>/dev/null; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "setup: no Python 3.11 or newer with venv found: install python3.11 and python3.11-venv, or name one with PYTHON=" >&2; \
	    exit 2; \
	  fi; \
	  touch $(UNFINISHED) && echo "setup: creating $(VENV) with $$found" && "$$found" -m venv --clear $(VENV) || exit 2; \
	fi
	@touch $(UNFINISHED)
	@if [ "$(INSTALLER)" = uv ] && ! $(VENV)/bin/python -m uv --version >/dev/null 2>&1; then \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv \
	    || echo "setup: uv cannot be installed; plain pip does it, more slowly"; \
	fi
	@if [ "$(INSTALLER)" = uv ] && $(VENV)/bin/python -m uv --version >/dev/null 2>&1; then \
	  $(VENV)/bin/python -m uv pip install --compile-bytecode --python $(VENV)/bin/python -c constraints.txt --override overrides.txt \
	    -e '$(or $(2),$(1))' \
	    || { echo "setup: uv failed; INSTALLER=pip does without it, and with the index of pip's own configuration" >&2; exit 2; }; \
	else \
	  $(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '$(1)' || exit; \
	  if [ -n "$(2)" ]; then echo "setup: without uv, only $(1) of $(2) is installed"; fi; \
	fi
	@pwd -P > $(VENV)/.place && rm -f $(UNFINISHED)
endef

# A comma in a call would begin another argument.
WITH_PHONES := .[adb,bundle]
WITH_FORMATS := .[adb,bundle,litert,tensorrt]
WITH_ALL := .[dev,litert,tensorrt]

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

setup-deploy: $(VENV)/.installed-deploy

$(VENV)/.installed: pyproject.toml constraints.txt $(MOVED) $(wildcard $(UNFINISHED))
	$(call install,$(WITH_PHONES))
	@touch $@

$(VENV)/.installed-deploy: pyproject.toml constraints.txt overrides.txt $(MOVED) $(wildcard $(UNFINISHED))
	$(call install,$(WITH_PHONES),$(WITH_FORMATS))
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt overrides.txt $(MOVED) $(wildcard $(UNFINISHED))
	$(call install,.[dev],$(WITH_ALL))
	@touch $(VENV)/.installed $(VENV)/.installed-deploy $@

DEVICE = $(if $(SERIAL),--serial "$(SERIAL)") $(if $(HOST),--host "$(HOST)")
OPTIONS = --target $(TARGET) --preset $(PRESET) $(if $(DATA),--data "$(DATA)") $(if $(RUN),--run "$(RUN)") \
	  $(foreach item,$(SET),--set '$(item)')

pipeline: setup
	$(VENV)/bin/fairnas pipeline $(OPTIONS) $(DEVICE)

profile: setup
	$(VENV)/bin/fairnas profile --target $(TARGET) $(DEVICE) $(ARGS)

report: setup
	$(VENV)/bin/fairnas report --run "$(or $(RUN),runs/$(TARGET)-$(PRESET))"

# Writes results/cifar10_cpu.json and its table; under an hour on two idle cores.
experiment-cifar10: setup
	$(VENV)/bin/fairnas pipeline --target cpu --preset cifar10-cpu $(if $(DATA),--data "$(DATA)") --run runs/cpu-cifar10-cpu
	$(VENV)/bin/python -m fairnas.experiments.results collect cifar10_cpu runs/cpu-cifar10-cpu
	$(VENV)/bin/python -m fairnas.experiments.results tables

experiment-latency: setup
	mkdir -p runs/latency-host
	for run in 1 2 3; do rm -rf runs/latency-host/$$run && $(VENV)/bin/fairnas profile --target cpu --validate --json \
		--out runs/latency-host/$$run > runs/latency-host/$$run.json || exit; done
	$(VENV)/bin/python -m fairnas.experiments.results latency-host runs/latency-host/1.json runs/latency-host/2.json \
		runs/latency-host/3.json
	$(VENV)/bin/python -m fairnas.experiments.results tables

# On a machine that does nothing else: the study makes the other work itself. Stopped, the same command goes on.
experiment-latency-load: setup
	$(VENV)/bin/python -m fairnas.experiments.latency_load $(ARGS)
	$(VENV)/bin/python -m fairnas.experiments.results tables

# TABLES holds nasbench201/nasbench201.csv and latency/nasbench201_latency.csv; three minutes.
experiment-search: setup
	$(VENV)/bin/python -m fairnas.experiments.search.study --data "$(TABLES)"
	$(VENV)/bin/python -m fairnas.experiments.results tables

# PROTOCOL=cpu is the reduced one, PROTOCOL= the full one, for a GPU. Stopped or paused (STOP_AFTER minutes of training,
# exit code 75), the same command goes on.
SPACE = macro
PROTOCOL = cpu
TRUTH =
COLUMN = $(if $(filter macro,$(SPACE)),mean_acc,c10_test_200)
ARCHITECTURES = 300
STOP_AFTER =
SAMPLINGS = strict-0 spos-0 strict-1 spos-1 expectation-0 expectation-scaled-0 one-shot-0 independent-0
RANKING = ranking-$(SPACE)$(if $(PROTOCOL),-$(PROTOCOL))

experiment-ranking: setup
	@if [ -z "$(TRUTH)" ]; then echo "experiment-ranking: TRUTH= must name the table of true accuracies of $(SPACE)" >&2; exit 2; fi
	@for each in $(SAMPLINGS); do \
	  run="runs/$(RANKING)/$$each"; \
	  $(VENV)/bin/fairnas supernet --preset $(RANKING) --data "$(or $(DATA),cifar10)" --seed $${each##*-} \
	    --set supernet.sampling=$${each%-*} --run "$$run" $(if $(STOP_AFTER),--stop-after $(STOP_AFTER)) || exit $$?; \
	  $(VENV)/bin/fairnas rank --run "$$run" --truth "$(TRUTH)" --column $(COLUMN) --architectures $(ARCHITECTURES) || exit $$?; \
	done
	$(VENV)/bin/python -m fairnas.experiments.ranking collect results/ranking_$(SPACE).json \
	  $(foreach each,$(SAMPLINGS),"runs/$(RANKING)/$(each)")
	$(VENV)/bin/python -m fairnas.experiments.results tables

experiment-scoring: setup
	$(VENV)/bin/python -m fairnas.experiments.scoring "$(TRUTH)" $(if $(DATA),--data "$(DATA)") $(ARGS)

experiment-overhead: setup
	$(VENV)/bin/python -m fairnas.experiments.search.overhead $(ARGS)

# Stopped, the same command goes on; half an hour on one core.
experiment-export-sweep: setup
	$(VENV)/bin/python -m fairnas.experiments.export_sweep $(ARGS)

# Exports exit with 3 where a format was withheld, which is a result.
DEPLOYED = runs/deploy
FORMATS = onnx,onnx-fp16,onnx-int8,tensorrt,tensorrt-fp16,tensorrt-int8,litert,litert-int8
IMAGENETTE = --target cpu --preset imagenette-cpu --data "$(DATA)"
# But for FairNAS-A, the largest, half as many epochs more; without clipping, C-SE and MobileNetV2 lose what they learnt.
LONGER = --set retrain.epochs=24 --set retrain.first_epochs=18 --set retrain.validate_epochs=6 --set retrain.lr=0.1
CLIPPED = $(LONGER) --set retrain.clip_grad=1
TENSORRT = --set 'export.tensorrt.compute_capabilities=[8.6, 8.9]'
# $(call deploy,NETWORK,OPTIONS)
deploy = $(VENV)/bin/fairnas export $(1) $(IMAGENETTE) --run "$(DEPLOYED)/$(1)" --format $(FORMATS) $(TENSORRT) $(2) || [ $$? -eq 3 ]

experiment-deploy: setup-deploy
	@if [ -z "$(DATA)" ]; then echo "experiment-deploy: DATA= must name a folder with train/ and val/" >&2; exit 2; fi
	$(call deploy,fairnas_a)
	$(call deploy,fairnas_c,$(LONGER))
	$(call deploy,fairnas_c_se,$(CLIPPED) --set export.int8.max_drop=0.015)
	$(call deploy,fairnas_c_se,$(CLIPPED) --set export.int8.max_drop=0.015 --hard-swish)
	$(VENV)/bin/fairnas retrain mobilenetv2_100 $(IMAGENETTE) $(CLIPPED) --run "$(DEPLOYED)/mobilenetv2_100"
	$(call deploy,mobilenetv2_100)
	$(VENV)/bin/python -m fairnas.experiments.deploy results/deploy_imagenette.json "$(DEPLOYED)"/*
	$(VENV)/bin/python -m fairnas.experiments.results tables

# Backbones start from the classifiers that experiment-deploy trained, as far as it did. The operators of onedl-mmcv are
# compiled for CPUs.
OPENMMLAB = build/venv-openmmlab
openmmlab: setup
	tests/openmmlab/setup.sh $(OPENMMLAB)

TRAINED = $(if $(wildcard $(DEPLOYED)/*/retrain/*/weights.safetensors),--weights "$(DEPLOYED)/{name}/retrain/{name}/weights.safetensors")

experiment-detection: openmmlab
	CUDA_VISIBLE_DEVICES= $(OPENMMLAB)/bin/python -m fairnas.experiments.detection --data "$(or $(DATA),penn-fudan)" $(TRAINED) $(ARGS)
	$(VENV)/bin/python -m fairnas.experiments.results tables

experiment-segmentation: setup
	$(VENV)/bin/python -m fairnas.experiments.segmentation --data "$(or $(DATA),camvid)" $(TRAINED) $(ARGS)
	$(VENV)/bin/python -m fairnas.experiments.results tables

bench: setup
	$(VENV)/bin/python -m fairnas.experiments.bench $(ARGS)

# A process for each core, of one thread each; those that are done take over what the others have left. WORKERS= does
# without (for a debugger, say). What stands in ARGS counts: ARGS="-n 1".
WORKERS := $(shell cores=$$(nproc 2>/dev/null || echo 2); [ $$cores -lt 8 ] && echo $$cores || echo 8)
bench-startup: setup
	$(VENV)/bin/python -m fairnas.experiments.startup $(ARGS)

test: setup-dev
	$(VENV)/bin/python -m pytest $(if $(WORKERS),-n $(WORKERS) --dist worksteal) $(ARGS)

test-devices: setup-dev
	tests/devices/run.sh $(ARGS)

# Both share an environment with the OpenMMLab packages: build/venv-openmmlab.
test-detection: setup-dev
	tests/detection/run.sh $(ARGS)

test-segmentation: setup-dev
	tests/segmentation/run.sh $(ARGS)

test-resume: setup-dev
	RESUME_MOMENTS=5 $(VENV)/bin/python -m pytest tests/pipeline/test_resume.py tests/pipeline/test_checkpoint.py \
	  tests/pipeline/search/test_local_study.py $(ARGS)

stage-versions: setup-dev
	$(VENV)/bin/python tests/pipeline/stage_sources.py

# The link lets pyright resolve `import fairnas.models` without an import hook: the repository root is the package.
lint: setup-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	@mkdir -p build/typecheck && ln -sfn ../.. build/typecheck/fairnas
	$(VENV)/bin/pyright
	$(VENV)/bin/hadolint Dockerfile

# Of what is pinned, not of what else the environment holds.
audit: setup-dev
	$(VENV)/bin/python -m uv tool run pip-audit --requirement constraints.txt --no-deps --disable-pip

# The site's own packages stay out of .venv, and those of fairnas out of theirs.
DOCS_VENV = build/venv-docs
docs: setup $(DOCS_VENV)/.installed
	$(VENV)/bin/python docs/generate.py
	$(DOCS_VENV)/bin/mkdocs build --quiet --strict

$(DOCS_VENV)/.installed: pyproject.toml constraints.txt
	$(VENV)/bin/python -m venv --clear $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $$($(VENV)/bin/python -c \
	  'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	@touch $@

check-dist: setup-dev
	tests/packaging/run.sh

# What belongs to one platform stays out, so that the file serves all: the pinned torch asks for its own CUDA libraries.
constraints: setup-dev
	@mkdir -p build
	echo uv | $(VENV)/bin/python -m uv pip compile --quiet --python $(VENV)/bin/python --extra dev --extra docs --extra litert --extra tensorrt \
	  -c constraints.txt --override overrides.txt \
	  --no-header --no-annotate --no-emit-index-url pyproject.toml - > build/constraints.all
	{ sed -n '/^#/p' constraints.txt; sed -E '/^(nvidia|cuda|triton)/d' build/constraints.all; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:
	rm -rf build dist fairnas.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './runs/*' -prune -exec rm -rf {} +

clean-runs:
	rm -rf runs

help:
	@sed -n -e 's/^#: \([^ ]\)/\n\1/p' -e 's/^#:   /  make /p' Makefile
