# What the fuzzing targets of busd are built of: busd without its main, and libbus below the API.

BUSD_FUZZ_SRCS := $(filter-out busd/main.c,$(BUSD_SRCS)) $(filter-out libbus/api/%,$(LIB_SRCS))

FUZZ_SRCS_busd_protocol  := $(BUSD_FUZZ_SRCS)
FUZZ_FLAGS_busd_protocol := $(INC_BUSD) $(BUSD_LIBS)
FUZZ_SRCS_busd_config    := $(BUSD_FUZZ_SRCS)
FUZZ_FLAGS_busd_config   := $(INC_BUSD) $(BUSD_LIBS)
