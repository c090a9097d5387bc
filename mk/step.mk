# make step: death at every instruction of publishing, reading, attaching and detaching (tests/step).

.PHONY: step

STEP      := $(BUILD)/tests/step/step
STEP_OBJS := $(call obj,$(wildcard tests/step/*.c))
MORE_PROGRAMS += $(STEP)

$(STEP): $(STEP_OBJS) $(BUILD)/tests/libtest.a $(LIBBUS_A)
	$(SAY) LD $@
	$(LINK) $^ $(LIB_LIBS)

# The short form is a test like the others (tests/crash/step.sh).
tests: $(STEP)

step: $(BUSD) $(STEP) ## a process dies at every instruction, and nothing is wrong for the others
	@BUS_BUILD=$(BUILD) timeout -k 5 300 $(STEP)

-include $(STEP_OBJS:.o=.d)
