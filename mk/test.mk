# Test programs, test runs and the sanitizer variants.
#
#   tests/unit/NAME.c          cmocka program, linked with all of libbus, internals too; busd_NAME.c also with
#                              busd, main.c excepted; what tools share is there too
#   tests/integration/NAME.c   program over the public headers and libbus.so
#   tests/hostile/NAME.c       program that also sees the internal headers, linked like a unit test
#   tests/crash/NAME.c         likewise
#   tests/*/NAME.sh            script; a program of the same name is its instrument, no test itself
#   tests/progs/NAME.c         program for scripts to use, linked like a hostile one
#   tests/lib/*.c              code that test programs share
#   tests/lib/preload/NAME.c   put before libc by a test: NAME.so
#
# All land in $(BUILD)/tests/, at the path of their source. tests/run.sh says what a test is told.

.PHONY: test tests test-here asan ubsan

TEST_DIRS   := unit integration hostile crash
TEST_SRCS   := $(foreach d,$(TEST_DIRS) progs,$(wildcard tests/$(d)/*.c))
TEST_PROGS  := $(patsubst %.c,$(BUILD)/%,$(TEST_SRCS))
TESTLIB_OBJ := $(call obj,$(wildcard tests/lib/*.c))
TEST_OBJS   := $(call obj,$(TEST_SRCS)) $(TESTLIB_OBJ)

# Instruments outlive their last use within one run of make.
.SECONDARY: $(TEST_OBJS)

$(BUILD)/obj/tests/%.o: OBJ_FLAGS := $(INC_LIBBUS) -I tests
$(BUILD)/obj/tests/unit/%.o: OBJ_FLAGS := $(INC_LIBBUS) -I tests -I tools
$(BUILD)/obj/tests/integration/%.o: OBJ_FLAGS := $(INC_PUBLIC) -I tests
$(BUILD)/obj/tests/unit/busd_%.o: OBJ_FLAGS := $(INC_BUSD) -I tests

$(BUILD)/tests/libtest.a: $(TESTLIB_OBJ) $(BUILD)/flags
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $(TESTLIB_OBJ)

BUSD_UNITS := $(filter $(BUILD)/tests/unit/busd_%,$(TEST_PROGS))
SO_TESTS   := $(filter $(BUILD)/tests/integration/%,$(TEST_PROGS))
A_TESTS    := $(filter-out $(BUSD_UNITS) $(SO_TESTS),$(TEST_PROGS))
BUSD_TESTABLE := $(filter-out $(BUILD)/obj/busd/main.o,$(BUSD_OBJS))

$(BUSD_UNITS): $(BUILD)/%: $(BUILD)/obj/%.o $(BUSD_TESTABLE) $(BUILD)/tests/libtest.a $(LIBBUS_A)
	$(SAY) LD $@
	$(LINK) $^ -lcmocka $(BUSD_LIBS)

$(A_TESTS): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/tests/libtest.a $(BUILD)/libtool.a $(LIBBUS_A)
	$(SAY) LD $@
	$(LINK) $^ -lcmocka $(LIB_LIBS) $(TOOL_LIBS)

$(SO_TESTS): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/tests/libtest.a $(LIBBUS_SO)
	$(SAY) LD $@
	$(LINK) $< $(BUILD)/tests/libtest.a $(LIBBUS_SO) -lcmocka -lpthread -lm \
		-Wl,-rpath,'$$ORIGIN/../..'

DISK_FAULT := $(BUILD)/tests/disk_fault.so
MORE_PROGRAMS += $(DISK_FAULT)

$(DISK_FAULT): tests/lib/preload/disk_fault.c $(BUILD)/flags | deps
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SAN_FLAGS) -MMD -MP,$(BUS_CFLAGS)) -O1 -g -fPIC -shared -o $@ $< -ldl

tests: $(DISK_FAULT)

-include $(TEST_OBJS:.o=.d)

tests: all $(TEST_PROGS) ## build the test programs without running them

test: test-here ## all unit, integration and hostile tests (TESTS=pattern: some of them)

test-here: tests
	@BUS_BUILD=$(abspath $(BUILD)) BUS_SAN=$(SAN) tests/run.sh $(TESTS)

asan: | deps ## the same tests under AddressSanitizer, in build/asan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SAN=address NO_DEPS=1 test-here

ubsan: | deps ## the same tests under UndefinedBehaviorSanitizer, in build/ubsan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/ubsan SAN=undefined NO_DEPS=1 test-here
