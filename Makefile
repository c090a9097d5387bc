# Builds everything into build/. `make help` lists the targets.
#
#   Makefile         variables that all parts share, the targets people type
#   mk/build.mk      library, busd, tools, examples
#   mk/test.mk       test programs, test runs, sanitizer variants
#   mk/install.mk    install, uninstall, Debian packages
#   mk/NAME.mk       any other file there is read too (bench, model, tsan, fuzz): each owns the
#                    targets that it defines
#
# Sources are found by wildcard: a new file in its directory is built without a change here.
# Objects lie in $(BUILD)/obj/, at the path of their source.

BUILD   ?= build
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
INCDIR  ?= $(PREFIX)/include
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system

# The header states the version, the packages and libbus.pc follow it.
VERSION := $(or $(shell sed -n 's/^.define[[:space:]]*BUS_VERSION[A-Z_]*[[:space:]]*"\([^"]*\)".*/\1/p' \
	libbus/include/bus.h 2>/dev/null),0.1.0)

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
OBJCOPY ?= objcopy
CFLAGS  ?= -O2 -g
LDFLAGS ?=

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wpointer-arith -Wundef -Werror=implicit $(if $(filter 1,$(WERROR)),-Werror)
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

# What every C file of the project is compiled with; -MMD -MP write the dependency files.
BUS_CFLAGS  := -std=gnu11 -D_GNU_SOURCE $(WARNINGS) $(SAN_FLAGS) -MMD -MP
BUS_LDFLAGS := $(SAN_FLAGS) -Wl,--as-needed -Wl,-z,relro,-z,now

# Who sees which headers. Tools, examples and benchmarks see the public ones only.
INC_PUBLIC := -I libbus/include
INC_LIBBUS := -I libbus/include -I libbus
INC_BUSD   := -I libbus/include -I libbus -I busd

Q := $(if $(filter 1,$(V)),,@)
SAY = $(if $(filter 1,$(V)),@:,@printf '  %-5s %s\n')

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all everything demo check lint tidy format help clean deps FORCE

# As many jobs as processors, unless the caller says otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

include mk/build.mk mk/test.mk mk/install.mk
include $(filter-out mk/build.mk mk/test.mk mk/install.mk,$(sort $(wildcard mk/*.mk)))

all: $(PRODUCTS) $(EXAMPLES) ## build library, busd, tools and examples into build/

# What lint compiles: all there is. mk/bench.mk and others add their programs to MORE_PROGRAMS.
everything: all $(TEST_PROGS) $(MORE_PROGRAMS)

# Packages: each target asks for its own set, once, before anything is compiled.
GOALS := $(or $(MAKECMDGOALS),all)
DEP_SETS := build \
	$(if $(filter test tests check asan ubsan tsan model step chaos mutants bitrot crashdisk diskerrors everything,$(GOALS)),test) \
	$(if $(filter bench bench-peers everything,$(GOALS)),bench) \
	$(if $(filter lint tidy format,$(GOALS)),test bench lint) \
	$(if $(filter fuzz,$(GOALS)),fuzz) \
	$(if $(filter deb,$(GOALS)),deb)
deps:
	$(if $(filter 1,$(NO_DEPS)),@:,@scripts/deps.sh $(DEP_SETS))

ifneq ($(wildcard scripts/demo.sh),)
demo: all ## the main job on real input: publisher, subscribers, checksums (FILE=... chooses the input)
	@BUS_BUILD=$(abspath $(BUILD)) $(if $(FILE),FILE='$(FILE)') scripts/demo.sh
endif

check: ## everything that can be checked: test, lint, sanitizers, model, spin, step, chaos, mutants, exhaustion, bitrot and the disks that crash and fail
	@set -e; for t in test lint asan ubsan $(filter tsan model spin step chaos mutants exhaustion bitrot crashdisk \
		diskerrors,$(OPTIONAL)); do \
		echo "== make $$t"; $(MAKE) --no-print-directory $$t; done

lint: | deps ## layers, names, symbols, format, sizes, cppcheck, warnings as errors
	@mkdir -p $(BUILD)/lint
	@scripts/lint/selftest.sh >$(BUILD)/lint/selftest.out 2>&1 & self=$$!; \
		scripts/lint.sh; rc=$$?; wait $$self || rc=1; cat $(BUILD)/lint/selftest.out; exit $$rc

tidy: | deps ## clang-tidy's bug checks (slower than lint, not part of it)
	@scripts/lint/tidy.sh

format: | deps ## let clang-format rewrite the sources
	@scripts/lint/files.sh | xargs clang-format -i

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | sort | \
		awk -F '\t' '{ printf "  %-12s %s\n", $$1, $$2 }'
	@echo
	@echo '  Variables: V=1 shows commands, WERROR=1 makes warnings errors, TESTS=pattern chooses tests,'
	@echo '  FILE=path is the input of demo, PREFIX= and DESTDIR= place an installation,'
	@echo '  BUS_NO_INSTALL=1 forbids apt-get, BUILD=dir builds elsewhere.'

clean: ## remove build/
	rm -rf $(BUILD)

# A promised target whose part of the tree is absent says so and fails: without this, make
# would find a directory of that name and report success.
OPTIONAL := $(sort $(shell sed -n 's/^\([a-z][a-z -]*\):.*/\1/p' $(wildcard mk/*.mk) Makefile))
ABSENT := $(filter-out $(OPTIONAL),model tsan fuzz bench bench-peers)
ifeq ($(wildcard scripts/demo.sh),)
ABSENT += demo
endif
ifneq ($(ABSENT),)
.PHONY: $(ABSENT)
$(ABSENT):
	@echo "make: '$@' is not part of this source tree (no rule for it in mk/)" >&2; exit 2
endif
