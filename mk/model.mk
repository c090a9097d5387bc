# make model: the interleaving explorer (tests/model/README.md) over the real code of libbus/ring, in
# an own build of it in which each atomic operation asks the explorer who goes on.

.PHONY: model

EXPLORE      := $(BUILD)/tests/model/explore
EXPLORE_OBJS := $(call obj,$(wildcard tests/model/*.c)) \
	$(patsubst libbus/ring/%.c,$(BUILD)/obj/model/ring/%.o,$(wildcard libbus/ring/*.c))
MORE_PROGRAMS += $(EXPLORE)

# The search joins and compares long byte vectors: worth SIMD.
$(BUILD)/obj/tests/model/%.o $(BUILD)/obj/model/ring/%.o: OBJ_FLAGS := $(INC_LIBBUS) -I tests/model \
	-DBUS_EXPLORE -ftree-vectorize -fvect-cost-model=dynamic

$(BUILD)/obj/model/ring/%.o: libbus/ring/%.c $(BUILD)/flags | deps
	$(SAY) CC '$< (explored)'
	@mkdir -p $(@D)
	$(Q)$(CC) $(BUS_CFLAGS) $(OBJ_FLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(EXPLORE): $(EXPLORE_OBJS)
	$(SAY) LD $@
	$(LINK) $^

-include $(EXPLORE_OBJS:.o=.d)

model: $(EXPLORE) ## all interleavings of the ring's protocol within bounds, mutants included (DEPTH=long: more)
	@$(EXPLORE) $(if $(filter long,$(DEPTH)),--long)
