# Makefile: builds build/resa and the tests.
#
#   make             build/resa, with CUDA where nvcc is found and kernels/*.cu exist
#   make test        sets up what is missing, builds, runs every test that this machine can run
#   make test-san    the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   make test-cuda-san   the device's tests under compute-sanitizer's four tools (many minutes on many cores)
#   make bench       times of the engine and its operations beside the machine's bounds, on SmolLM2
#   make bench-gpu   kernels and whole steps on the device, checked and timed, into results/reference/bench-gpu (minutes)
#   make bench-peer  the engine in turn with PyTorch and llama.cpp, which it installs outside the tree (6 GB, once)
#   make lint        the include rule, clang-tidy on what changed, shellcheck
#   make layers      the include rule alone
#   make format      clang-format, in place
#   make clean       removes every build folder
#
#   CUDA=0           without CUDA even where nvcc is found       (build-cpu)
#   SAN=1            with the sanitizers, always without CUDA    (build-san)
#   V=1              shows the commands

.DEFAULT_GOAL := all
SAN  ?= 0
V    ?= 0
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA ?= $(if $(NVCC),1,0)

# A build folder for each variant, so that variants never mix.
ifeq ($(SAN),1)
BUILD := build-san
else ifeq ($(CUDA)$(if $(NVCC),1,0),01)
BUILD := build-cpu
else
BUILD := build
endif

PKGS      := hdf5 zlib yaml-0.1 gsl libpcre2-8 jansson libutf8proc nettle libzip
TEST_PKGS := cmocka

# What each folder may include, FOLDER:FOLDER,..; experiments/main.c alone may include all.
MAY_INCLUDE := core:core kernels:core,kernels experiments:core,kernels,experiments analysis:core,analysis

WARN     := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wmissing-prototypes -Werror
CPPFLAGS += -I. -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
# No contraction and no fast-math: every fused multiply-add is spelled out, so that all code paths give the same bits.
CFLAGS   += -std=c11 -O2 -g -fopenmp -ffp-contract=off -fno-math-errno $(WARN)
LDLIBS   += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lhdf5_hl -lm
LDFLAGS  += -fopenmp
ifeq ($(SAN),1)
CFLAGS  += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
# The products' templates are minutes of work for a sanitised -O2.
$(BUILD)/kernels/product_%.o: CFLAGS += -O1 -g1
endif

SRC_LIB := $(sort $(wildcard core/*.c kernels/*.c analysis/*.c) $(filter-out experiments/main.c,$(wildcard experiments/*.c)))
SRC_CU  := $(if $(filter 1,$(CUDA)),$(if $(filter-out 1,$(SAN)),$(sort $(wildcard kernels/*.cu))))
OBJ_LIB := $(SRC_LIB:%.c=$(BUILD)/%.o) $(SRC_CU:%.cu=$(BUILD)/%.cu.o)
LIB     := $(BUILD)/libresa.a
RESA    := $(BUILD)/resa
OBJ_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(wildcard tests/*.c))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/test_*.c)))
SCRIPTS := $(sort $(wildcard tests/test_*.py tests/test_*.sh))

ifneq ($(SRC_CU),)
CPPFLAGS  += -DHAVE_CUDA
NVCCFLAGS += -std=c++17 -O3 -lineinfo -gencode arch=compute_90a,code=sm_90a -Xcompiler -Wall,-Wextra -Werror all-warnings
LDLIBS    += -L$(dir $(realpath $(NVCC)))../lib64 -lcudart_static -lstdc++ -ldl -lrt -lpthread
endif

# The files that hold AVX2 or AVX-512 code are compiled for that instruction set; the rest runs anywhere.
AVX2   := -mavx2 -mfma -mf16c
AVX512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq $(AVX2)
isa     = $(if $(filter %_avx512.c,$1),$(AVX512),$(if $(filter %_avx2.c,$1),$(AVX2)))

Q := $(if $(filter 1,$(V)),,@)
# make -s says nothing at all.
SAY := @$(if $(filter 1,$(V))$(findstring s,$(firstword -$(MAKEFLAGS))),:,echo)

all: $(RESA)

tests: $(TESTS)

# For scripts: where this variant's program is.
where:
	@echo $(RESA)

# ---- what is missing ------------------------------------------------------------------------------------------------
# Said before the compiler stumbles over a header.  The Debian package of a pkg-config module:
DEB_hdf5 := libhdf5-dev
DEB_zlib := zlib1g-dev
DEB_yaml-0.1 := libyaml-dev
DEB_gsl := libgsl-dev
DEB_libpcre2-8 := libpcre2-dev
DEB_jansson := libjansson-dev
DEB_libutf8proc := libutf8proc-dev
DEB_nettle := nettle-dev
DEB_libzip := libzip-dev
DEB_cmocka := libcmocka-dev
missing   = $(shell for p in $1; do pkg-config --exists $$p 2>/dev/null || echo $$p; done)
NO_PKGS  := $(if $(shell command -v pkg-config 2>/dev/null),$(call missing,$(PKGS)),pkg-config)
NO_TESTS := $(if $(NO_PKGS),,$(call missing,$(TEST_PKGS)))

define no_libraries
	@echo "make: missing: $1" >&2
	@echo "make: on Debian or Ubuntu: apt-get install $(foreach p,$1,$(or $(DEB_$p),$p)), or $2 for all at once" >&2
	@exit 1
endef
no-libraries:
	$(call no_libraries,$(NO_PKGS),./run.sh --setup)
no-test-libraries:
	$(call no_libraries,$(NO_TESTS),./run.sh --setup=test)
ifneq ($(NO_PKGS),)
$(OBJ_LIB) $(BUILD)/experiments/main.o $(OBJ_TESTS): | no-libraries
endif
ifneq ($(NO_TESTS),)
$(OBJ_TESTS): | no-test-libraries
endif

# ---- building -------------------------------------------------------------------------------------------------------
# Two stamps that change with their content alone: other flags rebuild everything, another commit the provenance.
stamp = $(shell mkdir -p $(BUILD) && { printf '%s\n' '$2' | cmp -s - $(BUILD)/$1 || printf '%s\n' '$2' > $(BUILD)/$1; })
ifeq ($(filter clean layers format lint test,$(MAKECMDGOALS)),)
FLAGS  := $(strip $(CC) $(CPPFLAGS) $(CFLAGS)$(if $(SRC_CU),; nvcc $(NVCCFLAGS)))
COMMIT := $(or $(shell git describe --always --abbrev=40 --match= --dirty 2>/dev/null),unknown)
$(call stamp,flags,$(FLAGS))
$(call stamp,commit,$(COMMIT))
endif

$(BUILD)/core/provenance.o: CPPFLAGS += -DRESA_COMMIT='"$(COMMIT)"' -DRESA_FLAGS='"$(FLAGS)"'
$(BUILD)/core/provenance.o: $(BUILD)/commit
$(BUILD)/flags $(BUILD)/commit: ;

$(LIB): $(OBJ_LIB)
	@rm -f $@
	$(SAY) "AR $@"
	$(Q)$(AR) rcs $@ $^

$(RESA): $(BUILD)/experiments/main.o $(LIB)
	$(SAY) "LD $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# tests/tiny.c is what tests and benchmarks of the engine share, tests/bench_machine.c what benchmarks do.
$(BUILD)/tests/test_engine $(BUILD)/tests/test_cuda $(BUILD)/tests/test_logits $(BUILD)/tests/test_latency $(BUILD)/tests/test_cuda_fused $(BUILD)/tests/test_cuda_brief $(BUILD)/tests/test_cuda_time $(BUILD)/tests/bench_step $(BUILD)/tests/bench_profile: $(BUILD)/tests/tiny.o

$(BUILD)/tests/bench_devices: $(patsubst %,$(BUILD)/tests/bench_devices_%.o,engine run)
$(BUILD)/tests/bench_gpu: $(patsubst %,$(BUILD)/tests/bench_gpu_%.o,check kernels products)

$(BUILD)/tests/bench_%: $(BUILD)/tests/bench_%.o $(BUILD)/tests/bench_machine.o $(LIB)
	$(SAY) "LD $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LDLIBS)

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(LIB)
	$(SAY) "LD $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LDLIBS) -lcmocka

# Simulations behind what the analysis claims, run by hand: build/tests/sim_coverage.
$(BUILD)/tests/sim_%: $(BUILD)/tests/sim_%.o $(LIB)
	$(SAY) "LD $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) "CC $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(call isa,$<) -MMD -MP -c -o $@ $<

$(BUILD)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) "NVCC $<"
	$(Q)$(NVCC) -I. $(NVCCFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

# ---- testing --------------------------------------------------------------------------------------------------------
# A make of its own after the set-up, because libraries are looked for when a Makefile is read.
test:
	@./run.sh --setup=test
	@$(MAKE) --no-print-directory -s -j$(JOBS) all tests
	@$(MAKE) --no-print-directory -s run-tests

test-san:
	@./run.sh --setup=test
	@$(MAKE) --no-print-directory -s -j$(JOBS) SAN=1 tests
	@$(MAKE) --no-print-directory -s SAN=1 SCRIPTS= run-tests

# Scripts find the program in $RESA and the build folder in $RESA_BUILD.  A test that needs longer than TEST_SECONDS has failed.
export TEST_SECONDS ?= $(if $(filter 1,$(SAN)),900,300)
run-tests: $(if $(SCRIPTS),$(BUILD)/tests/bench_devices)
	@RESA='$(CURDIR)/$(RESA)' RESA_BUILD='$(BUILD)' tests/run_tests.sh $(TESTS) $(SCRIPTS)

# ---- timing ---------------------------------------------------------------------------------------------------------
# On a quiet machine.  Nothing is written into the tree; what the peers need goes into the user's cache.
USER_CACHE  := $(or $(filter /%,$(XDG_CACHE_HOME)),$(HOME)/.cache)/resa
BENCH_MODEL := $(USER_CACHE)/models/smollm2-135m.gguf
BENCH_TEXTS := $(sort $(wildcard configs/texts/*.txt))
BENCH_THREADS ?= 2
BENCH_ROUNDS  ?= 3
VENV        := $(USER_CACHE)/venv
# Threads wait for one another for some 10 us before they sleep: longer only hurts where a processor is shared.
bench bench-peer: export GOMP_SPINCOUNT ?= 1000
bench bench-peer: export OMP_NUM_THREADS ?= $(BENCH_THREADS)

bench: $(patsubst %,$(BUILD)/tests/bench_%,step profile product attention)
	@uptime
ifneq ($(wildcard $(BENCH_MODEL)),)
	@$(BUILD)/tests/bench_step $(BENCH_MODEL) $(BENCH_TEXTS)
	@$(BUILD)/tests/bench_step --memory $(BENCH_MODEL) $(BENCH_TEXTS)
	@$(BUILD)/tests/bench_profile $(BENCH_MODEL)
else
	@echo "SKIP bench_step, bench_profile: $(BENCH_MODEL) is not there: run ./run.sh, which fetches it"
endif
	@echo "matrix products"
	@$(BUILD)/tests/bench_product
	@echo "operations on the cache"
	@$(BUILD)/tests/bench_attention

test-cuda-san: $(filter $(BUILD)/tests/test_cuda%,$(TESTS))
	@tests/cuda_san.sh $^

BENCH_GPU_RESULTS ?= results/reference/bench-gpu
bench-gpu: $(BUILD)/tests/bench_gpu
	@mkdir -p $(BENCH_GPU_RESULTS)
	@$< $(BENCH_GPU_RESULTS)
	@python3 -B tests/peer_step.py $(BENCH_GPU_RESULTS)

# llama.cpp is built from its source with what this machine's processor has; the part for images is left out.
bench-venv:
	@[ -x $(VENV)/bin/python ] || python3 -m venv $(VENV)
	@$(VENV)/bin/python -c 'import torch, gguf' 2>/dev/null || $(VENV)/bin/pip install torch gguf
	@$(VENV)/bin/python -c 'import llama_cpp' 2>/dev/null || \
	    CMAKE_ARGS=-DLLAVA_BUILD=OFF $(VENV)/bin/pip install llama-cpp-python || \
	    echo "llama.cpp could not be built here: it will be left out" >&2

ifneq ($(wildcard $(BENCH_MODEL)),)
bench-peer: $(BUILD)/tests/bench_step bench-venv
	@uptime
	@$(VENV)/bin/python -B tests/bench_peer.py $< $(BENCH_MODEL) $(BENCH_THREADS) $(BENCH_ROUNDS) $(BENCH_TEXTS)
	@$< --tracing $(BENCH_MODEL) $(BENCH_TEXTS)
	@$< --memory $(BENCH_MODEL) $(BENCH_TEXTS)
else
bench-peer:
	@echo "SKIP bench-peer: $(BENCH_MODEL) is not there: run ./run.sh, which fetches it"
endif

# ---- looking --------------------------------------------------------------------------------------------------------
TIDY  := $(firstword $(foreach c,clang-tidy clang-tidy-14 clang-tidy-15 clang-tidy-16 clang-tidy-19,$(shell command -v $c 2>/dev/null)))
SRC   := $(SRC_LIB) $(wildcard experiments/main.c tests/*.c)
TIDIED = $(SRC:%.c=build-lint/%.ok)
# gcc's omp.h, behind clang's own headers.
OMP_H  = -idirafter $(shell $(CC) -print-file-name=include)

layers:
	@awk -v may='$(MAY_INCLUDE)' -f tests/layers.awk $(wildcard $(foreach d,core kernels experiments analysis,$d/*.[ch] $d/*.cu $d/*.cuh))

lint: layers
	@$(if $(TIDY),:,echo "make lint: missing: clang-tidy: ./run.sh --setup=dev" >&2; exit 1)
	@$(if $(shell command -v shellcheck),:,echo "make lint: missing: shellcheck: ./run.sh --setup=dev" >&2; exit 1)
	@$(MAKE) --no-print-directory -k -j$(JOBS) tidy
	@shellcheck --severity=warning run.sh .ci/run tests/*.sh

tidy: $(TIDIED)

build-lint/%.ok: %.c .clang-tidy tests/.clang-tidy tests/lint.h
	@mkdir -p $(@D)
	$(SAY) "TIDY $<"
	@$(TIDY) --quiet $< -- $(CPPFLAGS) $(if $(filter-out core/err.c,$<),$(if $(filter tests/%,$<),-DLINT_TEST) -include tests/lint.h) -std=c11 -fopenmp $(OMP_H) $(call isa,$<) -Wall -Wextra > $@.log 2>&1 || { cat $@.log; exit 1; }
	@$(CC) $(CPPFLAGS) -fopenmp $(call isa,$<) -MM -MP -MT $@ -MF $(@:.ok=.d) $<
	@mv $@.log $@

format:
	clang-format -i $(wildcard $(foreach d,core kernels experiments analysis tests,$d/*.[ch] $d/*.cu $d/*.cuh))

clean:
	rm -rf build build-san build-cpu build-lint

-include $(OBJ_LIB:.o=.d) $(OBJ_TESTS:.o=.d) $(BUILD)/experiments/main.d
ifneq ($(filter tidy,$(MAKECMDGOALS)),)
-include $(TIDIED:.ok=.d)
endif

.PHONY: all tests where test test-san test-cuda-san run-tests bench bench-gpu bench-peer bench-venv layers lint tidy format clean no-libraries no-test-libraries
.SECONDARY:
