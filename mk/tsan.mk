# make tsan: the ring under the thread sanitizer, publisher and readers as threads over one mapping,
# in $(BUILD)/tsan; then the same with one memory order broken at a time, each of which must be reported.

.PHONY: tsan tsan-here

TSAN_PROG := $(BUILD)/tests/tsan/ring_threads
TSAN_OBJS := $(BUILD)/obj/tests/tsan/ring_threads.o $(BUILD)/obj/tests/lib/ring_rig.o \
	$(RING_OBJS) $(BUILD)/obj/libbus/os/wake.o
MORE_PROGRAMS += $(TSAN_PROG)

$(TSAN_PROG): $(TSAN_OBJS)
	$(SAY) LD $@
	$(LINK) $^ -lpthread

tsan: | deps ## thread sanitizer over the ring, and that it reports each broken memory order
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan SAN=thread NO_DEPS=1 tsan-here

# Randomized addresses may lie where the sanitizer has its own memory: gcc 12's then refuses to start.
tsan-here: $(TSAN_PROG)
	@fixed=$$(setarch -R true 2>/dev/null && echo setarch -R); \
		TSAN_OPTIONS="halt_on_error=1 exitcode=66 $$TSAN_OPTIONS" timeout 300 $$fixed $(TSAN_PROG)
	@CC='$(CC)' tests/mutants/run.sh tsan

-include $(BUILD)/obj/tests/tsan/ring_threads.d
