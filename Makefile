# Needs Python >= 3.10, git and make. Where uv is missing, it is installed into .tools/, a virtual environment of its own.
PYTHON ?= python3
TOOLS := $(CURDIR)/.tools
UV := $(shell command -v uv 2>/dev/null)
ifeq ($(UV),)
UV := $(TOOLS)/bin/uv
export PATH := $(TOOLS)/bin:$(PATH)
endif
# An environment that happens to be active is not this repository's.
unexport VIRTUAL_ENV
# Some machines forbid Python to keep what it compiles: each of thousands of starts would compile pandas anew.
unexport PYTHONDONTWRITEBYTECODE
RUN := "$(UV)" run --quiet --group test
# The machinery's own tests need no baked project, but an environment with the machinery in it: tests/mlcicd/pyproject.toml.
MACHINERY := "$(UV)" run --quiet --project tests/mlcicd pytest

.PHONY: help demo check test bench lint docs reference clean

help:
	@echo "make demo          watch a generated project review and release its model"
	@echo "make check         lint, types and the quick tests of the machinery, in about two minutes"
	@echo "make test          run everything the template promises; ARGS=... goes to pytest"
	@echo "make bench         measure what the template claims, beside its peers; ARGS=\"train service\" only these parts"
	@echo "make lint          check the template's own files"
	@echo "make docs          build the documentation into site/, where nothing may be broken"
	@echo "make reference     write the reference of params.yaml and contract.yaml anew"
	@echo "make clean         remove what the others made"

demo: $(UV)
	$(RUN) python tests/demo.py $(ARGS)

# uv must not read the template's pyproject.toml above the real folder, which is none yet. Windows checks out no links.
LINK := tests/mlcicd/machinery
$(LINK):
	ln -s "../../{{cookiecutter.project_slug}}/packages/mlcicd" $(LINK)

check: $(UV) $(LINK) lint
	$(MACHINERY) tests/mlcicd -n 2 -m "not slow"

# Without ARGS three parts run side by side: all that runs workflows, whose steps are counted at its end; what learns
# from tables, after the machinery's own tests; and the rest. Many of them wait for a server, a browser or a clock, so
# that two cores serve three. The kills fork, so that no test with threads may have run in their process.
KILLS := tests/mlcicd/test_kills.py
ACTING := $(patsubst %,tests/test_%.py,audit handover monitor releases_page update) tests/workflows
LEARNING := $(patsubst %,tests/test_%.py,adversarial_tables drift init referee report_pages)
test: $(UV) $(LINK)
ifdef ARGS
	$(RUN) pytest $(ARGS)
else
	@$(RUN) true
	@"$(UV)" sync --quiet --project tests/mlcicd
	@$(RUN) pytest $(ACTING) > .test-acting.log 2>&1 & acting=$$!; \
	{ code=0; $(MACHINERY) tests/mlcicd --ignore=$(KILLS) || code=1; $(MACHINERY) $(KILLS) || code=1; $(RUN) pytest $(LEARNING) || code=1; exit $$code; } > .test-learning.log 2>&1 & learning=$$!; \
	$(RUN) pytest $(addprefix --ignore=,$(ACTING) $(LEARNING)); status=$$?; \
	wait $$learning || status=1; cat .test-learning.log; \
	wait $$acting || status=1; cat .test-acting.log; exit $$status
endif

bench: $(UV)
	@$(RUN) python benchmarks/bench.py $(ARGS)

lint: $(UV)
	$(RUN) pre-commit run --all-files

docs: $(UV)
	NO_MKDOCS_2_WARNING=1 "$(UV)" run --quiet --only-group docs mkdocs build --strict --quiet

reference: $(UV)
	rm -rf .reference && mkdir .reference
	ML_CICD_SKIP_LOCK=1 $(RUN) cookiecutter . --no-input --default-config --output-dir .reference > .reference/log
	cd .reference/customer-churn && "$(UV)" run --quiet --no-default-groups python ../../docs/reference.py '../../{{cookiecutter.project_slug}}/docs'
	rm -rf .reference

clean:
	rm -rf .tools .venv .reference demo site uv.lock .test-*.log tests/mlcicd/.venv tests/mlcicd/uv.lock

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv "$(TOOLS)"
	"$(TOOLS)/bin/python" -m pip install --quiet uv
