# A next version of busd and libbus.so, of these sources with BUS_NEXT_VERSION defined: a protocol version more, fields
# at the tail of some messages and records that mean something (BUS_NEXT in libbus/base/base.h marks them). For tests
# that let the two versions meet (tests/integration/versions.sh); nothing of it is installed.
#
#   build/next/       speaks this version and the next
#   build/next/only/  speaks the next one only: CTL_VERSION_MIN is raised (BUS_NEXT_ONLY)

NEXT       := $(BUILD)/next
NEXT_ONLY  := $(NEXT)/only
NEXT_PROGS := $(NEXT)/busd $(NEXT)/libbus.so.0 $(NEXT_ONLY)/busd $(NEXT_ONLY)/libbus.so.0
MORE_PROGRAMS += $(NEXT_PROGS)

next_objects = $(patsubst $(BUILD)/obj/%,$(NEXT)/obj/%,$(1))
# Those whose code the lowest version is in; the other objects are the same.
ONLY_USES := libbus/api/bus.o libbus/api/control.o libbus/api/mend.o busd/greet.o busd/record.o
only_objects = $(foreach o,$(call next_objects,$(1)),$(if $(filter $(ONLY_USES),$(o:$(NEXT)/obj/%=%)),\
	$(o:$(NEXT)/%=$(NEXT_ONLY)/%),$(o)))
NEXT_OBJS := $(call next_objects,$(LIB_OBJS) $(BUSD_OBJS))
ONLY_OBJS := $(ONLY_USES:%=$(NEXT_ONLY)/obj/%)

$(NEXT)/obj/libbus/%.o $(NEXT_ONLY)/obj/libbus/%.o: OBJ_FLAGS := $(INC_LIBBUS) -fPIC -ftls-model=initial-exec \
	-fno-semantic-interposition -DBUS_NEXT_VERSION
$(NEXT)/obj/busd/%.o $(NEXT_ONLY)/obj/busd/%.o: OBJ_FLAGS := $(INC_BUSD) -DBUS_NEXT_VERSION

$(NEXT_OBJS): $(NEXT)/obj/%.o: %.c $(BUILD)/flags | deps
	$(SAY) CC '$< (next version)'
	@mkdir -p $(@D)
	$(Q)$(CC) $(BUS_CFLAGS) $(OBJ_FLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(ONLY_OBJS): $(NEXT_ONLY)/obj/%.o: %.c $(BUILD)/flags | deps
	$(SAY) CC '$< (next version only)'
	@mkdir -p $(@D)
	$(Q)$(CC) $(BUS_CFLAGS) $(OBJ_FLAGS) -DBUS_NEXT_ONLY $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

NEXT_LINK_SO = $(LINK) -shared -Wl,-soname,libbus.so.0 -Wl,--version-script=libbus/libbus.map \
	-Wl,-Bsymbolic-functions $(if $(SAN),,-Wl,-z,defs)

$(NEXT)/libbus.so.0: $(call next_objects,$(LIB_OBJS)) $(BUILD)/objects libbus/libbus.map
	$(SAY) LD $@
	$(NEXT_LINK_SO) $(filter %.o,$^) $(LIB_LIBS)

$(NEXT_ONLY)/libbus.so.0: $(call only_objects,$(LIB_OBJS)) $(BUILD)/objects libbus/libbus.map
	$(SAY) LD $@
	$(NEXT_LINK_SO) $(filter %.o,$^) $(LIB_LIBS)

$(NEXT)/busd: $(call next_objects,$(BUSD_OBJS) $(CORE_OBJS)) $(BUILD)/objects
	$(SAY) LD $@
	$(LINK) $(filter %.o,$^) $(BUSD_LIBS)

$(NEXT_ONLY)/busd: $(call only_objects,$(BUSD_OBJS) $(CORE_OBJS)) $(BUILD)/objects
	$(SAY) LD $@
	$(LINK) $(filter %.o,$^) $(BUSD_LIBS)

tests: $(NEXT_PROGS)

-include $(NEXT_OBJS:.o=.d) $(ONLY_OBJS:.o=.d)
