# make chaos: any party killed, stopped and continued at random while the others go on (tests/chaos).
#
#   build/tests/chaos/chaos          the run; SEED= and SECONDS= choose
#   build/tests/chaos/death_latency  how soon a blocked publisher goes on when its reader was killed

.PHONY: chaos

CHAOS_DIR   := $(BUILD)/tests/chaos
CHAOS_PARTS := $(call obj,$(addprefix tests/chaos/,notes.c pub.c sub.c director.c chaos.c))
CHAOS_OBJS  := $(CHAOS_PARTS) $(call obj,tests/chaos/death_latency.c)
CHAOS_PROGS := $(CHAOS_DIR)/chaos $(CHAOS_DIR)/death_latency
MORE_PROGRAMS += $(CHAOS_PROGS)

# What a subscriber knows of the bus is bus.h.
$(BUILD)/obj/tests/chaos/%.o: OBJ_FLAGS := $(INC_PUBLIC) -I tests

$(CHAOS_DIR)/chaos: $(CHAOS_PARTS) $(LIBBUS_SO)
	$(SAY) LD $@
	$(LINK) $^ -lpthread -Wl,-rpath,'$$ORIGIN/../..'

$(CHAOS_DIR)/death_latency: $(call obj,tests/chaos/death_latency.c) $(BUILD)/tests/libtest.a $(LIBBUS_SO)
	$(SAY) LD $@
	$(LINK) $^ -lpthread -Wl,-rpath,'$$ORIGIN/../..'

# The short form is a test like the others (tests/crash/chaos.sh).
tests: $(CHAOS_PROGS)

chaos: $(BUSD) $(CHAOS_PROGS) ## kill, stop and continue any party at random (SECONDS=120, SEED=random)
	@BUS_BUILD=$(BUILD) timeout -k 5 $$(( $(or $(SECONDS),120) + 150 )) \
		$(CHAOS_DIR)/chaos --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))
	@BUS_BUILD=$(BUILD) timeout -k 5 100 $(CHAOS_DIR)/death_latency

-include $(CHAOS_OBJS:.o=.d)
