# make crashdisk: a stream's log on a disk that crashes at any operation, in any way (tests/disk/crash.c), and the
# positions of its durable subscriptions (tests/disk/positions.c).
# make diskerrors: the same log, and operation N fails, for every N; and a file system that is full (tests/disk/errors.c).

.PHONY: crashdisk diskerrors

DISK_DIR   := $(BUILD)/tests/disk
DISK_PROGS := $(DISK_DIR)/crash $(DISK_DIR)/errors $(DISK_DIR)/positions
DISK_OBJS  := $(call obj,$(wildcard tests/disk/*.c))
MORE_PROGRAMS += $(DISK_PROGS)

# They stand on busd's inside.
$(BUILD)/obj/tests/disk/%.o $(BUILD)/obj/tests/lib/crash_disk.o $(BUILD)/obj/tests/lib/log_ring.o \
$(BUILD)/obj/tests/lib/log_writer.o: \
	OBJ_FLAGS := $(INC_BUSD) -I tests

$(DISK_PROGS): $(DISK_DIR)/%: $(BUILD)/obj/tests/disk/%.o $(BUILD)/obj/tests/disk/life.o $(BUSD_TESTABLE) $(BUILD)/tests/libtest.a $(LIBBUS_A)
	$(SAY) LD $@
	$(LINK) $^ $(BUSD_LIBS)

# The short forms are tests like the others (tests/crash/crashdisk.sh, tests/crash/diskerrors.sh).
tests: $(DISK_PROGS)

crashdisk: $(DISK_PROGS) ## a log on a disk that loses, tears and mixes up what was not synced (SECONDS=100, SEED=1)
	@timeout -k 5 $$(( $(or $(SECONDS),100) + 60 )) $(DISK_DIR)/crash --seconds $(or $(SECONDS),100) \
		$(if $(SEED),--seed $(SEED))
	@$(DISK_DIR)/positions $(if $(SEED),--seed $(SEED))

diskerrors: $(DISK_PROGS) ## the same log where operation N fails, for every N, and a full file system
	@BUS_BUILD=$(BUILD) timeout -k 5 300 tests/crash/diskerrors.sh full

-include $(DISK_OBJS:.o=.d)
