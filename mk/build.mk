# Library, busd, tools and examples: the products of `make`.

LAYERS     := base format ring os api
LIB_SRCS   := $(foreach l,$(LAYERS),$(wildcard libbus/$(l)/*.c))
BUSD_SRCS  := $(wildcard busd/*.c)
TOOL_MAINS := $(wildcard tools/bus.c tools/bus-*.c)
TOOL_SRCS  := $(filter-out $(TOOL_MAINS),$(wildcard tools/*.c))
EX_SRCS    := $(wildcard docs/examples/*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIB_OBJS  := $(call obj,$(LIB_SRCS))
# busd stands on the layers below the client API, never on the API.
CORE_OBJS := $(filter-out $(BUILD)/obj/libbus/api/%,$(LIB_OBJS))
RING_OBJS := $(filter $(BUILD)/obj/libbus/ring/%,$(LIB_OBJS))
BUSD_OBJS := $(call obj,$(BUSD_SRCS))
TOOL_OBJS := $(call obj,$(TOOL_SRCS))
ALL_OBJS  := $(LIB_OBJS) $(BUSD_OBJS) $(TOOL_OBJS) $(call obj,$(TOOL_MAINS) $(EX_SRCS))

LIB_LIBS  := -luring -lpthread
BUSD_LIBS := -luring -lnuma -lyaml -lseccomp -lpthread -lm
TOOL_LIBS := -ljansson -lncursesw -lpthread -lm

LIBBUS_SO := $(BUILD)/libbus.so
# For tests and whatever else looks inside: the objects as they are. Users get the other one.
LIBBUS_A  := $(BUILD)/obj/libbus.a
BUSD      := $(if $(BUSD_SRCS),$(BUILD)/busd)
TOOLS     := $(patsubst tools/%.c,$(BUILD)/%,$(TOOL_MAINS))
EXAMPLES  := $(patsubst docs/examples/%.c,$(BUILD)/examples/%,$(EX_SRCS))
PRODUCTS  := $(if $(LIB_SRCS),$(BUILD)/libbus.so.0 $(LIBBUS_SO) $(BUILD)/libbus.a) $(BUSD) $(TOOLS)

# A change of flags rebuilds: the file changes only when they do.
$(BUILD)/flags: FLAGS_NOW = $(CC) $(CFLAGS) $(CPPFLAGS) $(BUS_CFLAGS) $(LDFLAGS) $(BUS_LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' >$@

# So does a source that came or went: what is linked is the list of today.
$(BUILD)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJS) $(BUSD_OBJS) $(TOOL_OBJS)' | cmp -s - $@ || \
		echo '$(LIB_OBJS) $(BUSD_OBJS) $(TOOL_OBJS)' >$@

# Position-independent once, for libbus.so, libbus.a and busd alike. initial-exec: no call to
# find a thread's page. No semantic interposition: own functions may be inlined.
$(BUILD)/obj/libbus/%.o: OBJ_FLAGS := $(INC_LIBBUS) -fPIC -ftls-model=initial-exec -fno-semantic-interposition
# busd parses what strangers send.
$(BUILD)/obj/busd/%.o: OBJ_FLAGS := $(INC_BUSD) -fstack-protector-strong \
	$(if $(SAN),,$(if $(findstring -O,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))
$(BUILD)/obj/tools/%.o: OBJ_FLAGS := $(INC_PUBLIC) -I tools
$(BUILD)/obj/docs/examples/%.o: OBJ_FLAGS := $(INC_PUBLIC)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | deps
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(BUS_CFLAGS) $(OBJ_FLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# LINK,objects and libraries: the one way to link a program.
LINK = $(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) $(BUS_LDFLAGS) $(LDFLAGS) -o $@

$(BUILD)/libbus.so.0: $(LIB_OBJS) $(BUILD)/objects libbus/libbus.map
	$(SAY) LD $@
	$(LINK) -shared -Wl,-soname,libbus.so.0 -Wl,--version-script=libbus/libbus.map \
		-Wl,-Bsymbolic-functions $(if $(SAN),,-Wl,-z,defs) $(LIB_OBJS) $(LIB_LIBS)

$(LIBBUS_SO): $(BUILD)/libbus.so.0
	$(Q)ln -sf libbus.so.0 $@

$(LIBBUS_A): $(LIB_OBJS) $(BUILD)/objects
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $(LIB_OBJS)

# The static library as users get it: one object whose only global names are the public ones, as
# in libbus.so, so that ring_writer_init of ours never meets a function of theirs.
$(BUILD)/libbus.a: $(LIBBUS_A)
	$(SAY) AR $@
	$(Q)$(LD) -r -o $(BUILD)/obj/libbus_public.o --whole-archive $(LIBBUS_A)
	$(Q)$(OBJCOPY) -w --keep-global-symbol='bus_[!_]*' $(BUILD)/obj/libbus_public.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(BUILD)/obj/libbus_public.o

$(BUILD)/busd: $(BUSD_OBJS) $(CORE_OBJS) $(BUILD)/objects
	$(SAY) LD $@
	$(LINK) $(BUSD_OBJS) $(CORE_OBJS) $(BUSD_LIBS)

# What tools share; an archive, so that each program takes only what it uses.
$(BUILD)/libtool.a: $(TOOL_OBJS) $(BUILD)/objects
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $(TOOL_OBJS)

# The run path serves build/ (beside the program) and an installation (../lib) alike.
$(TOOLS): $(BUILD)/%: $(BUILD)/obj/tools/%.o $(BUILD)/libtool.a $(LIBBUS_SO)
	$(SAY) LD $@
	$(LINK) $< $(BUILD)/libtool.a $(LIBBUS_SO) $(TOOL_LIBS) -Wl,-rpath,'$$ORIGIN:$$ORIGIN/../lib'

$(EXAMPLES): $(BUILD)/examples/%: $(BUILD)/obj/docs/examples/%.o $(LIBBUS_SO)
	$(SAY) LD $@
	$(LINK) $< $(LIBBUS_SO) -lpthread -Wl,-rpath,'$$ORIGIN/..'

-include $(ALL_OBJS:.o=.d)
