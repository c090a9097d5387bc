# make exhaustion: every Nth malloc, mmap, memfd_create, socket, ... fails, in busd and in libbus; what
# `make test` runs of it is a choice of N. fail_nth.so is put before libc by the test itself.

.PHONY: exhaustion

FAIL_NTH := $(BUILD)/tests/fail_nth.so
MORE_PROGRAMS += $(FAIL_NTH)

$(FAIL_NTH): tests/lib/preload/fail_nth.c tests/lib/preload/fail_nth.h $(BUILD)/flags | deps
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SAN_FLAGS) -MMD -MP,$(BUS_CFLAGS)) -O1 -g -fPIC -shared -I tests -o $@ $< -ldl

tests: $(FAIL_NTH)

exhaustion: tests ## every Nth call for memory, descriptors, sockets fails, in busd and libbus (3 minutes)
	@BUS_BUILD=$(abspath $(BUILD)) BUS_SAN=$(SAN) timeout -k 5 600 $(BUILD)/tests/hostile/exhaustion full
