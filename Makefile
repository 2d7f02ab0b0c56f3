# Makefile: builds build/resa and the tests.  Targets: all, test, test-san, lint, layers, bench, format, clean.
#   make SAN=1     AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of its own
#   make CUDA=0    without CUDA even where nvcc is found

SAN  ?= 0
NVCC ?= $(shell command -v nvcc 2>/dev/null)
CUDA ?= $(if $(NVCC),1,0)

BUILD := build$(if $(filter 1,$(SAN)),-san)
PKGS  := hdf5 yaml-0.1 gsl libpcre2-8 jansson libutf8proc nettle libzip

WARN     := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wmissing-prototypes -Werror
CPPFLAGS += -I. -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
# No contraction and no fast-math: every fused multiply-add is spelled out, so that all code paths give the same bits.
CFLAGS   += -std=c11 -O2 -g -fopenmp -ffp-contract=off -fno-math-errno $(WARN)
LDLIBS   += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lhdf5_hl -lm
LDFLAGS  += -fopenmp
ifeq ($(SAN),1)
CFLAGS  += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
endif

SRC_LIB  := $(sort $(wildcard core/*.c kernels/*.c analysis/*.c) $(filter-out experiments/main.c,$(wildcard experiments/*.c)))
OBJ_LIB  := $(SRC_LIB:%.c=$(BUILD)/%.o)
LIB      := $(BUILD)/libresa.a
TESTS    := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/test_*.c)))

# The files that hold AVX2 or AVX-512 code are compiled for that instruction set; the rest runs anywhere.
$(BUILD)/%_avx2.o:   CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/%_avx512.o: CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c

# The commit and the flags are compiled into one object, which is rebuilt when either text changes.
COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
$(BUILD)/core/provenance.o: CPPFLAGS += -DRESA_COMMIT='"$(COMMIT)"' -DRESA_FLAGS='"$(strip $(CFLAGS))"'
$(BUILD)/core/provenance.o: $(BUILD)/commit
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(COMMIT) $(strip $(CFLAGS))' | cmp -s - $@ || echo '$(COMMIT) $(strip $(CFLAGS))' > $@

all: $(BUILD)/resa

$(LIB): $(OBJ_LIB)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/resa: $(BUILD)/experiments/main.o $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

tests: $(TESTS)

clean:
	rm -rf build build-san

-include $(OBJ_LIB:.o=.d) $(TESTS:%=%.d) $(BUILD)/experiments/main.d

.PHONY: all tests clean FORCE
.SECONDARY:
