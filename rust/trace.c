// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of trace.h. See trace.rs for the other side. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"
