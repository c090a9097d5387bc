# make fuzz: each tests/fuzz/NAME.c as a libFuzzer target (clang) for FUZZ_SECONDS, over the corpus in
# tests/fuzz/corpus/NAME. What is found new stays in $(BUILD)/fuzz/corpus; an input that breaks
# something is left in $(BUILD)/fuzz, and `$(BUILD)/fuzz/NAME FILE` plays it again.
#
# FUZZ_SRCS_NAME and FUZZ_FLAGS_NAME: what a target needs beside its own file.

.PHONY: fuzz

FUZZ_SECONDS ?= 30
FUZZ_CC      ?= clang
FUZZ_FLAGS   := -std=gnu11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Wall -Wextra

FUZZ_SRCS_ring_memory  := tests/lib/ring_rig.c $(wildcard libbus/ring/*.c)
FUZZ_FLAGS_ring_memory := -DBUS_EXPLORE -I libbus -I tests

FUZZ_SRCS_log_segment  := tests/lib/log_rig.c $(wildcard libbus/*/*.c) -luring -lpthread
FUZZ_FLAGS_log_segment := -I libbus/include -I libbus -I tests -DLOG_SLOTS_HELD=64 -DLOG_SPAN_BYTES=512u

FUZZ_PROGS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))

$(FUZZ_PROGS): $(BUILD)/fuzz/%: tests/fuzz/%.c FORCE | deps
	$(SAY) FUZZ $@
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_FLAGS_$*) $< $(FUZZ_SRCS_$*) -o $@

fuzz: $(FUZZ_PROGS) ## libFuzzer targets, FUZZ_SECONDS=30 each: hostile memory, hostile logs
	@set -e; for p in $(FUZZ_PROGS); do \
		name=$${p##*/}; mkdir -p $(BUILD)/fuzz/corpus/$$name tests/fuzz/corpus/$$name; \
		echo "== $$name, $(FUZZ_SECONDS) s"; \
		$$p -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -use_value_profile=1 -print_final_stats=1 \
			-artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/corpus/$$name tests/fuzz/corpus/$$name \
			>$(BUILD)/fuzz/$$name.log 2>&1 || { tail -n 60 $(BUILD)/fuzz/$$name.log; exit 1; }; \
		grep -E '^Done|stat::(average|new_units)' $(BUILD)/fuzz/$$name.log; \
	done
