# make demo: the whole pipeline on a small archive; make test: the tests.
# Needs Python 3.11 to 3.13 with venv (Debian: python3-venv), make and the package index; everything else is installed into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
SOURCE ?=
PEERS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV = $(shell command -v uv || echo .tools/bin/uv)

COMPOSE = docker compose --file docker/compose.yaml --env-file docker/.env

.PHONY: help bench demo docs test test-faults test-yarn test-all test-spark lint types format lock clean env-archive cluster-up cluster-demo cluster-down

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(INSTALLED) ## make a small archive and take it all the way to scores
	$(BIN)/skinclf demo

test: $(INSTALLED) ## run the tests
	$(BIN)/python -m pytest -n 2 -m "not faults and not yarn and not delta"

test-faults: $(INSTALLED) .tools/s3a ## run the long tests: whole pipelines, killed processes, cut networks, clusters
	$(BIN)/python -m pytest -n 2 -m faults

# Spark's way to S3, which pyspark does not bring.
.tools/s3a: tests/support/s3a/pom.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DincludeScope=runtime \
	  -DexcludeGroupIds=io.netty,org.slf4j -DoutputDirectory=$(CURDIR)/$@
	touch $@

# Other versions of Spark than the one in requirements.lock, each with the oldest version of all other
# packages that pyproject.toml allows.
SPARKS ?= 3.5.9 4.0.5 4.1.4
# What takes minutes, and passes with the newest Spark for each change.
LONG = tests/stages/test_prepare.py tests/stages/test_score.py tests/faults/test_score_table.py \
  tests/faults/test_training.py::test_a_killed_training_process_then_executor_then_spark_worker_then_driver
ON_EACH_SPARK = tests/test_demo.py tests/spark tests/stages/test_score_table.py \
  tests/stages/test_train.py::test_two_slots_in_spark_tasks_learn_what_one_slot_learns $(LONG)

test-spark: $(SPARKS:%=test-spark-%) ## run the demo, prepare, score, Delta and a training with losses on older Sparks (needs Maven)

# By themselves: a JVM has its jars from the start, or never.
WITH_DELTA = tests/stages/test_delta.py $(filter %/test_score_table.py,$(LONG))

test-spark-%: .venv-spark-%/.installed .tools/delta-%
	.venv-spark-$*/bin/python -m pytest -n 2 -W ignore::DeprecationWarning -m "not delta" $(ON_EACH_SPARK)
	.venv-spark-$*/bin/python -m pytest -W ignore::DeprecationWarning -m delta $(WITH_DELTA)

# Delta, of which each release is made for one version of Spark; 4.3 has none yet.
DELTA_3.5.9 = -Ddelta.artifact=delta-spark_2.12 -Ddelta.version=3.3.3
DELTA_4.0.5 = -Ddelta.artifact=delta-spark_4.0_2.13 -Ddelta.version=4.4.0
DELTA_4.1.4 = -Ddelta.artifact=delta-spark_4.1_2.13 -Ddelta.version=4.4.0

.PRECIOUS: .tools/delta-%
.tools/delta-%: tests/support/delta/pom.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies $(DELTA_$*) -DincludeScope=runtime \
	  -DincludeGroupIds=io.delta,io.unitycatalog -DoutputDirectory=$(CURDIR)/$@
	touch $@

test-yarn: $(INSTALLED) .tools/hadoop dist/skinclf-env.tar.gz ## run all jobs on a real YARN and HDFS (needs Maven)
	$(BIN)/python -m pytest -m yarn

test-all: $(INSTALLED) .tools/s3a .tools/hadoop dist/skinclf-env.tar.gz ## run test, test-faults and test-yarn as one, which sets up once what they share
	$(BIN)/python -m pytest -n 2 -m "not delta"

.tools/hadoop: tests/support/hadoop/pom.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@
	touch $@

bench: $(INSTALLED) ## time everything against its peers, some 45 minutes; writes docs/speed.md
	$(BIN)/python -m bench $(if $(SOURCE),--source $(SOURCE)) $(if $(PEERS),--peers $(PEERS))

docs: $(INSTALLED) ## build the documentation's pages in dist/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lint: $(INSTALLED) ## check style and format, of docker/ and of the text, too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	$(BIN)/shellcheck docker/*.sh .ci/run
	git ls-files | xargs $(BIN)/codespell
	git ls-files '*.md' | xargs $(BIN)/proselint check --config .proselintrc.json

types: $(INSTALLED) ## check types
	$(BIN)/mypy

format: $(INSTALLED) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE = $(UV) pip compile pyproject.toml --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

lock: $(UV) ## resolve pyproject.toml anew into requirements*.lock
	mkdir -p .tools
	echo 'tensorflow-cpu ; python_version < "3"' > .tools/overrides.txt # its files are tensorflow's
	$(COMPILE) --all-extras --group dev --override .tools/overrides.txt -o requirements.lock
	$(COMPILE) --group executors --constraint requirements.lock -o requirements-executors.lock
	for spark in $(SPARKS); do \
	  echo "pyspark==$$spark" > .tools/spark.txt; rm -f requirements-spark-$$spark.lock; \
	  $(COMPILE) --extra spark --extra tf --extra java --extra openvino --group test \
	    --constraint .tools/spark.txt --resolution lowest-direct -o requirements-spark-$$spark.lock; \
	done

.PRECIOUS: .venv-spark-%/.installed
.venv-spark-%/.installed: requirements-spark-%.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-spark-$*
	$(UV) pip sync --quiet --python .venv-spark-$*/bin/python --require-hashes $<
	$(UV) pip install --quiet --python .venv-spark-$*/bin/python --no-deps --no-build-isolation --editable .
	touch $@

env-archive: dist/skinclf-env.tar.gz ## pack an environment, interpreter included, for spark-submit --archives

dist/skinclf-env.tar.gz: requirements-executors.lock pyproject.toml tools/env_archive.py $(shell find skinclf conf -type f -not -path '*/__pycache__/*') | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-executors
	$(UV) pip sync --quiet --python .venv-executors/bin/python --require-hashes requirements-executors.lock
	$(UV) pip install --quiet --python .venv-executors/bin/python --no-deps .
	.venv-executors/bin/python tools/env_archive.py $@
	rm -rf .venv-executors # 2 GB, half a minute to make

cluster-up: docker/.env ## start a master, two workers and the history server in containers
	$(COMPOSE) up --build --detach --wait

cluster-demo: docker/.env ## run all jobs on that cluster, over a small archive
	$(COMPOSE) run --rm --service-ports submit

cluster-down: docker/.env ## end the cluster and delete its volume
	$(COMPOSE) --profile submit down --volumes

docker/.env: # the secret of this cluster's processes
	umask 077 && $(PYTHON) -c 'import secrets; print("SKINCLF_SECRET=" + secrets.token_hex(32))' > $@

clean: ## remove what make has installed
	rm -rf $(VENV) .venv-executors .venv-spark-* .tools dist

# With bytecode: where none may be written later, each process would compile TensorFlow.
$(INSTALLED): requirements.lock pyproject.toml skinclf/__init__.py | $(UV)
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and f"skinclf needs Python 3.11 to 3.13; this is {sys.version}. Name another: make PYTHON=python3.12")'
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# uv installs the locked set in half a minute; where the machine has none, it is fetched here.
.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet uv
