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

.PHONY: help demo test bench lint docs reference clean

help:
	@echo "make demo          watch a generated project review and release its model"
	@echo "make test          run everything the template promises; ARGS=... goes to pytest"
	@echo "make bench         measure what the template claims, beside its peers; ARGS=\"train service\" only these parts"
	@echo "make lint          check the template's own files"
	@echo "make docs          build the documentation into site/, where nothing may be broken"
	@echo "make reference     write the reference of params.yaml and contract.yaml anew"
	@echo "make clean         remove what the others made"

demo: $(UV)
	$(RUN) python tests/demo.py $(ARGS)

# Without ARGS three parts run side by side: all that runs workflows, whose steps are counted at its end; what learns
# from tables; and the rest. Many of them wait for a server, a browser or a clock, so that two cores serve three.
ACTING := $(patsubst %,tests/test_%.py,audit handover monitor releases_page update) tests/workflows
LEARNING := $(patsubst %,tests/test_%.py,adversarial_tables compare contract drift init metrics models referee report report_pages split)
test: $(UV)
ifdef ARGS
	$(RUN) pytest $(ARGS)
else
	@$(RUN) true
	@$(RUN) pytest $(ACTING) > .test-acting.log 2>&1 & acting=$$!; \
	$(RUN) pytest $(LEARNING) > .test-learning.log 2>&1 & learning=$$!; \
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
	cd .reference/customer-churn && "$(UV)" run --quiet --no-default-groups python ../../docs/reference.py customer_churn '../../{{cookiecutter.project_slug}}/docs'
	rm -rf .reference

clean:
	rm -rf .tools .venv .reference demo site uv.lock .test-*.log

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv "$(TOOLS)"
	"$(TOOLS)/bin/python" -m pip install --quiet uv
