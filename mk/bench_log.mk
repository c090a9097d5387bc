# make bench-log: how fast a stream's log is written, beside the raw disk (bench/log_rate.c).

.PHONY: bench-log

LOG_RATE := $(BUILD)/bench/log_rate
MORE_PROGRAMS += $(LOG_RATE)

# It measures a part of busd, not what programs see.
$(BUILD)/obj/bench/log_rate.o: OBJ_FLAGS := $(INC_BUSD)

$(LOG_RATE): $(BUILD)/obj/bench/log_rate.o $(BUSD_TESTABLE) $(LIBBUS_A)
	$(SAY) LD $@
	$(LINK) $^ $(BUSD_LIBS)

bench-log: $(LOG_RATE) ## a stream's log beside the raw disk, on the file system of build/ (DIR=elsewhere)
	@mkdir -p $(BUILD)/bench
	@$(LOG_RATE) --dir $(or $(DIR),$(BUILD)/bench/log)

-include $(BUILD)/obj/bench/log_rate.d
