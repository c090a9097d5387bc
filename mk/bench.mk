# make bench: figures of this machine, each beside its limit; docs/benchmarks.md says how to read them.
#
#   bench/figures.c        the two-process figures, with their targets
#   bench/gbench.cc        what single calls cost (Google Benchmark over bench/harness.c)
#   bench/worker_restart.sh  round trips while busd's worker is killed (make bench-restart)
#   bench/beside_spill.sh  latencies beside a stream that is written to disk, and of its readers (make bench-beside)
#   bench/log_start.sh     how long busd takes to start with 10 GB of log (make bench-start)
#   tests/progs/log_speed.c  CRC32C, and a log read from the page cache
#   bench/ring_variants.c  what each part of the ring's protocol costs (run by hand)

.PHONY: bench bench-doc bench-restart bench-start bench-beside

BENCH_DIR   := $(BUILD)/bench
BENCH_PROGS := $(BENCH_DIR)/figures $(BENCH_DIR)/ring_variants $(BENCH_DIR)/gbench
BENCH_PARTS := $(call obj,bench/bench_busd.c bench/bench_table.c bench/bench_costs.c)
BENCH_OBJS  := $(BENCH_PARTS) $(call obj,bench/figures.c bench/harness.c bench/ring_variants.c)
MORE_PROGRAMS += $(BENCH_PROGS)

$(BUILD)/obj/bench/%.o: OBJ_FLAGS := $(INC_PUBLIC) -I tools -I bench

$(BENCH_DIR)/figures: $(BUILD)/obj/bench/figures.o $(BENCH_PARTS) $(BUILD)/libtool.a $(LIBBUS_SO)
	$(SAY) LD $@
	$(LINK) $^ $(TOOL_LIBS) -Wl,-rpath,'$$ORIGIN/..'

$(BENCH_DIR)/ring_variants: $(BUILD)/obj/bench/ring_variants.o $(BUILD)/libtool.a
	$(SAY) LD $@
	$(LINK) $^ -lm

$(BUILD)/obj/bench/gbench.o: bench/gbench.cc $(BUILD)/flags | deps
	$(SAY) CXX $<
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=gnu++17 -Wall -Wextra -MMD -MP -I bench $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BENCH_DIR)/gbench: $(BUILD)/obj/bench/gbench.o $(BUILD)/obj/bench/harness.o \
		$(BUILD)/obj/bench/bench_busd.o $(BUILD)/libtool.a $(LIBBUS_SO)
	$(SAY) LD $@
	$(Q)mkdir -p $(@D) && $(CXX) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lbenchmark $(TOOL_LIBS) -Wl,-rpath,'$$ORIGIN/..'

bench: all $(BENCH_PROGS) $(BUILD)/tests/progs/log_speed ## speed beside the machine's limits (2 to 3 minutes), into build/bench/
	@$(BENCH_DIR)/figures --busd $(BUILD)/busd --bench $(BUILD)/bus-bench \
		--json $(BENCH_DIR)/results.json --table $(BENCH_DIR)/results.md
	@echo; echo 'What single calls cost, in one process:'
	@$(BENCH_DIR)/gbench --busd=$(BUILD)/busd --benchmark_min_time=0.05 \
		--benchmark_out=$(BENCH_DIR)/gbench.json --benchmark_out_format=json
	@echo; echo 'A log, read from the page cache:'
	@$(BUILD)/tests/progs/log_speed
	@echo; echo 'Beside a stream that is written to disk:'
	@BUS_BUILD=$(BUILD) PAIRS=5 SECONDS_EACH=1 bench/beside_spill.sh

bench-beside: all ## latency of a live topic, and of a stream's reader, with spilling on and off (a minute)
	@BUS_BUILD=$(BUILD) bench/beside_spill.sh

bench-restart: all ## what a pair of attached processes notices while busd's worker is killed (a minute)
	@BUS_BUILD=$(BUILD) bench/worker_restart.sh

bench-start: all ## how long busd takes to start with a log of 10 GB on disk (GB=n, DIR=elsewhere than /var/tmp; a minute)
	@BUS_BUILD=$(BUILD) bench/log_start.sh

bench-doc: ## put the figures of the last `make bench` into docs/benchmarks.md
	@scripts/bench-doc.sh $(BENCH_DIR)/results.md docs/benchmarks.md

-include $(BENCH_OBJS:.o=.d) $(BUILD)/obj/bench/gbench.d
