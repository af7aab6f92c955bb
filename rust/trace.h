/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of the module; those of VMAs are the kernel's, <trace/events/anon_vma_lazy.h>. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM anon_vma_lazy

#if !defined(_ANON_VMA_LAZY_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _ANON_VMA_LAZY_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(context_create,
	    TP_PROTO(s64 context),
	    TP_ARGS(context),
	    TP_STRUCT__entry(__field(s64, context)),
	    TP_fast_assign(__entry->context = context;),
	    TP_printk("context=%lld", __entry->context)
);

TRACE_EVENT(context_join,
	    TP_PROTO(s64 context, s64 parent),
	    TP_ARGS(context, parent),
	    TP_STRUCT__entry(__field(s64, context)
			     __field(s64, parent)),
	    TP_fast_assign(__entry->context = context;
			   __entry->parent = parent;),
	    TP_printk("context=%lld parent=%lld", __entry->context, __entry->parent)
);

TRACE_EVENT(context_leave,
	    TP_PROTO(s64 context, unsigned int freed),
	    TP_ARGS(context, freed),
	    TP_STRUCT__entry(__field(s64, context)
			     __field(unsigned int, freed)),
	    TP_fast_assign(__entry->context = context;
			   __entry->freed = freed;),
	    TP_printk("context=%lld freed=%u", __entry->context, __entry->freed)
);

TRACE_EVENT(donate,
	    TP_PROTO(s64 context, s64 heir, unsigned int anchors),
	    TP_ARGS(context, heir, anchors),
	    TP_STRUCT__entry(__field(s64, context)
			     __field(s64, heir)
			     __field(unsigned int, anchors)),
	    TP_fast_assign(__entry->context = context;
			   __entry->heir = heir;
			   __entry->anchors = anchors;),
	    TP_printk("context=%lld heir=%lld anchors=%u", __entry->context,
		      __entry->heir, __entry->anchors)
);

TRACE_EVENT(borrow,
	    TP_PROTO(s64 context, s64 holder),
	    TP_ARGS(context, holder),
	    TP_STRUCT__entry(__field(s64, context)
			     __field(s64, holder)),
	    TP_fast_assign(__entry->context = context;
			   __entry->holder = holder;),
	    TP_printk("context=%lld holder=%lld", __entry->context, __entry->holder)
);

TRACE_EVENT(walk,
	    TP_PROTO(s64 holder, unsigned long first, unsigned long last,
		     unsigned int visits, unsigned int hits, bool contended),
	    TP_ARGS(holder, first, last, visits, hits, contended),
	    TP_STRUCT__entry(__field(s64, holder)
			     __field(unsigned long, first)
			     __field(unsigned long, last)
			     __field(unsigned int, visits)
			     __field(unsigned int, hits)
			     __field(bool, contended)),
	    TP_fast_assign(__entry->holder = holder;
			   __entry->first = first;
			   __entry->last = last;
			   __entry->visits = visits;
			   __entry->hits = hits;
			   __entry->contended = contended;),
	    TP_printk("holder=%lld pgoff=%lx-%lx visits=%u hits=%u contended=%d",
		      __entry->holder, __entry->first, __entry->last,
		      __entry->visits, __entry->hits, __entry->contended)
);

TRACE_EVENT(learn,
	    TP_PROTO(s64 context, unsigned long first, unsigned long last),
	    TP_ARGS(context, first, last),
	    TP_STRUCT__entry(__field(s64, context)
			     __field(unsigned long, first)
			     __field(unsigned long, last)),
	    TP_fast_assign(__entry->context = context;
			   __entry->first = first;
			   __entry->last = last;),
	    TP_printk("context=%lld pgoff=%lx-%lx", __entry->context, __entry->first,
		      __entry->last)
);

#endif /* _ANON_VMA_LAZY_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
